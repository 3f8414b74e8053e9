package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
)

// For is whom something is sealed for. The zero value seals nothing.
type For struct {
	recipients []age.Recipient
}

// None reports whether nothing is sealed.
func (f For) None() bool { return len(f.recipients) == 0 }

// Add adds whoever holds the secret half of a public key: age1… or an SSH key, ssh-ed25519 or ssh-rsa, as its .pub file has it.
func (f *For) Add(recipient string) error {
	recipient = strings.TrimSpace(recipient)
	var r age.Recipient
	var err error
	switch {
	case strings.HasPrefix(recipient, "ssh-"):
		r, err = agessh.ParseRecipient(recipient)
	case strings.HasPrefix(recipient, "AGE-SECRET-KEY-"):
		return errors.New("that is the secret half of a key: want the public one, age1…, which age-keygen -y prints")
	case strings.HasPrefix(recipient, "age1"):
		var all []age.Recipient
		if all, err = age.ParseRecipients(strings.NewReader(recipient)); err == nil && len(all) != 1 {
			err = errors.New("want one key")
		}
		if err == nil {
			r = all[0]
		}
	default:
		return errors.New("want a public key: age1…, ssh-ed25519 … or ssh-rsa …")
	}
	if err != nil {
		return fmt.Errorf("not a public key: %w", err)
	}
	f.recipients = append(f.recipients, r)
	return nil
}

// Passphrase has what is sealed be opened by a passphrase, and by nothing else: age has no form for both.
// Sealing and opening take about a second and 256 MiB, so that guessing does too.
func Passphrase(secret string) (For, error) { return passphrase(secret, workFactor) }

// workFactor is the binary logarithm of the work that a passphrase takes: what the age tool takes by itself.
const workFactor = 18

func passphrase(secret string, work int) (For, error) {
	r, err := age.NewScryptRecipient(secret)
	if err != nil {
		return For{}, err
	}
	r.SetWorkFactor(work)
	return For{[]age.Recipient{r}}, nil
}

// Seal seals plain, and opens what came of that by the key of that one file, which age draws and nobody keeps: on nil it is plain again, byte for
// byte, for whoever has a key that it was sealed for. It is how who holds none of these can know.
func (f For) Seal(plain []byte) ([]byte, error) {
	if f.None() {
		return nil, errors.New("seal: for nobody")
	}
	drawn := &witness{Recipient: f.recipients[0]}
	var b bytes.Buffer
	w, err := age.Encrypt(&b, append([]age.Recipient{drawn}, f.recipients[1:]...)...)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	opened, err := Keys{[]age.Identity{age.NewInjectedFileKeyIdentity(drawn.fileKey)}}.Open(b.Bytes())
	if err == nil && !bytes.Equal(opened, plain) {
		err = errors.New("it is not what was sealed")
	}
	if err != nil {
		return nil, fmt.Errorf("what was just sealed cannot be opened: %w", err)
	}
	return b.Bytes(), nil
}

// witness is a recipient that keeps the key of the file.
type witness struct {
	age.Recipient
	fileKey []byte
}

// WrapWithLabels is age's.
func (w *witness) WrapWithLabels(fileKey []byte) ([]*age.Stanza, []string, error) {
	w.fileKey = bytes.Clone(fileKey)
	if r, ok := w.Recipient.(age.RecipientWithLabels); ok {
		return r.WrapWithLabels(fileKey)
	}
	s, err := w.Wrap(fileKey)
	return s, nil, err
}

// Keys open what was sealed. The zero value opens nothing.
type Keys struct {
	identities []age.Identity
}

// None reports whether there is no key.
func (k Keys) None() bool { return len(k.identities) == 0 }

// AddFile adds the keys of an identity file: age's (AGE-SECRET-KEY-…, one a line), or an SSH private key without a passphrase.
func (k *Keys) AddFile(data []byte) error {
	if bytes.Contains(data, []byte("PRIVATE KEY-----")) {
		id, err := agessh.ParseIdentity(data)
		if err != nil {
			return fmt.Errorf("not an SSH private key that opens without a passphrase: %w", err)
		}
		k.identities = append(k.identities, id)
		return nil
	}
	if Sealed(data) {
		return errors.New("it is sealed itself: age -d opens it")
	}
	ids, err := age.ParseIdentities(bytes.NewReader(data))
	if err != nil {
		return errors.New("want lines that begin with AGE-SECRET-KEY-, or an SSH private key") // age's own error may say what stands there
	}
	k.identities = append(k.identities, ids...)
	return nil
}

// AddPassphrase adds a passphrase.
func (k *Keys) AddPassphrase(secret string) error {
	id, err := age.NewScryptIdentity(secret)
	if err != nil {
		return err
	}
	k.identities = append(k.identities, id)
	return nil
}

// ErrNoKey says that something is sealed, and that none of the keys there are opens it.
var ErrNoKey = errors.New("it is sealed, and there is no key here that opens it")

const (
	head      = "age-encryption.org/v1\n"
	armorHead = armor.Header + "\n"
)

// Sealed reports whether data begins as what age has sealed.
func Sealed(data []byte) bool {
	return bytes.HasPrefix(data, []byte(head)) || bytes.HasPrefix(data, []byte(armorHead))
}

// Open opens what was sealed. The error is ErrNoKey where no key fits; any other says that the bytes are damaged.
func (k Keys) Open(data []byte) ([]byte, error) {
	if k.None() {
		return nil, ErrNoKey
	}
	var r io.Reader = bytes.NewReader(data)
	if bytes.HasPrefix(data, []byte(armorHead)) {
		r = armor.NewReader(r)
	}
	opened, err := age.Decrypt(r, k.identities...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, ErrNoKey
	}
	if err != nil {
		return nil, fmt.Errorf("damaged: %w", err)
	}
	var plain bytes.Buffer
	plain.Grow(len(data))
	if _, err := plain.ReadFrom(opened); err != nil {
		return nil, fmt.Errorf("damaged: %w", err)
	}
	return plain.Bytes(), nil
}
