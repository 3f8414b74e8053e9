package seal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
)

// Secret reads a file that holds a secret: whoever is neither its owner nor of its group must not be able to read it.
func Secret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("everybody on this host can get at %s: chmod 600 it", path)
	}
	var b bytes.Buffer
	_, err = b.ReadFrom(f)
	return b.Bytes(), err
}

// PassphraseFile reads a passphrase: the first line of a file that not everybody may read.
func PassphraseFile(path string) (string, error) {
	b, err := Secret(path)
	if err != nil {
		return "", err
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
		return "", errors.New("its first line, which is to be the passphrase, is empty")
	}
	return string(line), nil
}

// KeysOf are the keys of an identity file, of a passphrase file, or of both; "" for none. The errors name the file.
func KeysOf(identity, passphrase string) (k Keys, err error) {
	if identity != "" {
		b, err := Secret(identity)
		if err == nil {
			err = k.AddFile(b)
		}
		if err != nil {
			return k, fmt.Errorf("identity file %s: %w", identity, err)
		}
	}
	if passphrase != "" {
		secret, err := PassphraseFile(passphrase)
		if err == nil {
			err = k.AddPassphrase(secret)
		}
		if err != nil {
			return k, fmt.Errorf("passphrase file %s: %w", passphrase, err)
		}
	}
	return k, nil
}
