package authority

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The files of the folder.
const (
	authorityCert = "authority.crt"
	authorityKey  = "authority.key"
	nodeCert      = "node.crt"
	nodeKey       = "node.key"
)

const (
	folderMode = 0o750
	certMode   = 0o640
	keyMode    = 0o600
)

// unfinished ends the names of what a crash may leave beside the folder, and of files in it. It means nothing.
const unfinished = ".new"

// lostAuthority is what to do where half of the authority is damaged or gone. Nothing makes a new one in its place:
// no other member would know it.
const lostAuthority = "copy authority.crt and authority.key from any other member, or move the folder away and join again with a token"

// damage is the error about a file that cannot be what was written. It is never fs.ErrNotExist, which would say that
// there is no authority here, and so that one may be made.
func damage(path, what, do string) error {
	return fmt.Errorf("%s: %s; nothing was changed: %s", path, what, do)
}

// install makes the folder with all that is in it, or not at all: the files are written and made durable beside it
// first. A folder that holds anything is left as it is, with an error that is fs.ErrExist.
func install(dir string, a *Authority, key *ecdsa.PrivateKey, cert *x509.Certificate) error {
	tmp := filepath.Clean(dir) + unfinished
	if err := os.RemoveAll(tmp); err != nil { // of a crash
		return err
	}
	if err := os.Mkdir(tmp, folderMode); err != nil {
		return err
	}
	err := fill(tmp, a, key, cert)
	if err == nil {
		err = os.Rename(tmp, dir)
	}
	if err != nil {
		os.RemoveAll(tmp) // what is left of it means nothing
		return fmt.Errorf("write the authority to %s: %w", dir, err)
	}
	return syncFolder(filepath.Dir(dir))
}

func fill(dir string, a *Authority, key *ecdsa.PrivateKey, cert *x509.Certificate) error {
	if err := os.Chmod(dir, folderMode); err != nil { // Mkdir's mode is subject to the umask
		return err
	}
	for name, k := range map[string]*ecdsa.PrivateKey{authorityKey: a.key, nodeKey: key} {
		b, err := keyPEM(k)
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(dir, name), b, keyMode); err != nil {
			return err
		}
	}
	if err := writeFile(filepath.Join(dir, authorityCert), certificatePEM(a.cert.Raw), certMode); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, nodeCert), certificatePEM(cert.Raw), certMode)
}

// readAuthority reads the authority's files. The error is fs.ErrNotExist only where the folder is missing or empty.
func readAuthority(dir string) (*Authority, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("read the authority: %s is empty: %w", dir, fs.ErrNotExist)
	}
	cert, err := readCertificate(dir, authorityCert, lostAuthority)
	if err != nil {
		return nil, err
	}
	key, err := readKey(dir, authorityKey, lostAuthority)
	if err != nil {
		return nil, err
	}
	if cert == nil {
		return nil, damage(filepath.Join(dir, authorityCert), "missing", lostAuthority)
	}
	if key == nil {
		return nil, damage(filepath.Join(dir, authorityKey), "missing", lostAuthority)
	}
	a, err := authorityOf(cert, key)
	if err != nil {
		return nil, damage(filepath.Join(dir, authorityCert)+" and "+authorityKey, err.Error(), lostAuthority)
	}
	return a, nil
}

// readCertificate reads a certificate's file; nil when there is none.
func readCertificate(dir, name, do string) (*x509.Certificate, error) {
	path := filepath.Join(dir, name)
	der, err := readPEM(path, "CERTIFICATE", do)
	if der == nil || err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, damage(path, "damaged: "+err.Error(), do)
	}
	return cert, nil
}

// readKey reads a key's file; nil when there is none. A key that others may read is refused: it may be known already.
func readKey(dir, name, do string) (*ecdsa.PrivateKey, error) {
	path := filepath.Join(dir, name)
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&^keyMode != 0 {
		return nil, damage(path, fmt.Sprintf("mode %04o lets others read or change it", info.Mode().Perm()),
			"see who may have read it, then chmod 600 "+path)
	}
	der, err := readPEM(path, "PRIVATE KEY", do)
	if der == nil || err != nil {
		return nil, err
	}
	key, err := parseKey(der)
	if err != nil {
		return nil, damage(path, "damaged: "+err.Error(), do)
	}
	return key, nil
}

// readPEM reads a file that holds one PEM block of that type; nil when there is no file.
func readPEM(path, kind, do string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	der, err := onlyBlock(b, kind)
	if err != nil {
		return nil, damage(path, "damaged: "+err.Error(), do)
	}
	return der, nil
}

// onlyBlock is the content of the one PEM block that b holds.
func onlyBlock(b []byte, kind string) ([]byte, error) {
	block, rest := pem.Decode(b)
	switch {
	case block == nil:
		return nil, errors.New("holds no PEM block")
	case block.Type != kind:
		return nil, fmt.Errorf("holds a PEM block %q, not %q", block.Type, kind)
	case len(block.Bytes) == 0 || strings.TrimSpace(string(rest)) != "":
		return nil, errors.New("holds more, or less, than one PEM block")
	}
	return block.Bytes, nil
}

func parseKey(der []byte) (*ecdsa.PrivateKey, error) {
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("holds a key of type %T, not an ECDSA one", k)
	}
	return key, nil
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// writeFile puts b at path, whole or not at all; on nil it is durable. A crash leaves the old content or the new, and
// perhaps a file beside it that the next write replaces.
func writeFile(path string, b []byte, mode fs.FileMode) (err error) {
	tmp := path + unfinished
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close() // a second close, after a successful one, only returns an error
			os.Remove(tmp)
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	if err := f.Chmod(mode); err != nil { // OpenFile's mode is subject to the umask
		return err
	}
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
