package seal

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
)

func sealed(t *testing.T, f For, text string) []byte {
	t.Helper()
	b, err := f.Seal([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tool runs one of Debian's; what is missing, integration/setup.sh tests installs.
func tool(t *testing.T, stdin []byte, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = bytes.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, &errs)
	}
	return string(out)
}

// What is sealed for two of whatever kind of key is opened by age with either, and what age seals is opened here.
func TestFor_realAge(t *testing.T) {
	dir := t.TempDir()
	own, ed, rsa := filepath.Join(dir, "age"), filepath.Join(dir, "ed"), filepath.Join(dir, "rsa")
	tool(t, nil, "age-keygen", "-o", own)
	tool(t, nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "alice@example", "-f", ed)
	tool(t, nil, "ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", rsa)
	public := map[string]string{own: strings.TrimSpace(tool(t, nil, "age-keygen", "-y", own))}
	for _, k := range []string{ed, rsa} {
		b, err := os.ReadFile(k + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		public[k] = string(b)
	}
	var all For
	for k, r := range public {
		if err := all.Add(r); err != nil {
			t.Fatalf("%s: %v", k, err)
		}
	}
	data := sealed(t, all, "what is sealed")
	if !Sealed(data) {
		t.Error("it does not look sealed")
	}
	for k, r := range public {
		if got := tool(t, data, "age", "-d", "-i", k); got != "what is sealed" {
			t.Errorf("age -d with %s: %q", k, got)
		}
		keys, err := KeysOf(k, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range []string{"--encrypt", "--armor"} {
			theirs := tool(t, []byte("what age sealed"), "age", form, "-r", strings.TrimSpace(r))
			if got, err := keys.Open([]byte(theirs)); err != nil || string(got) != "what age sealed" || !Sealed([]byte(theirs)) {
				t.Errorf("opened with %s: %q, %v", k, got, err)
			}
		}
		var one For
		if err := one.Add(r); err != nil {
			t.Fatal(err)
		}
		for other := range public {
			others, err := KeysOf(other, "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := others.Open(sealed(t, one, "x")); (other == k) != (err == nil) || other != k && !errors.Is(err, ErrNoKey) {
				t.Errorf("sealed for %s, opened with %s: %v", k, other, err)
			}
		}
	}
}

func TestPassphrase(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passphrase")
	if err := os.WriteFile(file, []byte("correct horse\nsecond line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secret, err := PassphraseFile(file)
	if err != nil || secret != "correct horse" {
		t.Fatalf("got %q, %v", secret, err)
	}
	f, err := passphrase(secret, 10)
	if err != nil {
		t.Fatal(err)
	}
	data := sealed(t, f, "what is sealed")
	keys, err := KeysOf("", file)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := keys.Open(data); err != nil || string(got) != "what is sealed" {
		t.Errorf("got %q, %v", got, err)
	}
	var wrong Keys
	if err := wrong.AddPassphrase("battery staple"); err != nil {
		t.Fatal(err)
	}
	if _, err := wrong.Open(data); !errors.Is(err, ErrNoKey) {
		t.Errorf("another passphrase: %v", err)
	}
	// age asks at a terminal only: script gives it one.
	path := filepath.Join(t.TempDir(), "sealed.age")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, []byte(secret+"\n"), "script", "-qec", "age -d -o '"+path+".opened' '"+path+"'", "/dev/null")
	if got, err := os.ReadFile(path + ".opened"); err != nil || string(got) != "what is sealed" {
		t.Errorf("age -d: %q, %v", got, err)
	}
}

// What cannot be is said, and no secret with it.
func TestAdd_mistakes(t *testing.T) {
	for text, want := range map[string]string{
		"": "want a public key", "age1nothing": "not a public key", "ssh-ed25519 AAAA": "not a public key", "ssh-dss AAAA": "not a public key",
		"AGE-SECRET-KEY-1QQQQQ": "secret half", "PUBLIC": "want a public key",
	} {
		var f For
		if err := f.Add(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "QQQQ") || !f.None() {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, want := range map[string]string{
		write("open", "AGE-SECRET-KEY-1QQQQ\n", 0o644):                     "chmod 600",
		write("no", "something QQQQ\n", 0o600):                             "want lines that begin",
		write("pem", "-----BEGIN OPENSSH PRIVATE KEY-----\nQQQQ\n", 0o600): "not an SSH private key",
		write("sealed", "age-encryption.org/v1\n-> X25519 QQQQ\n", 0o600):  "sealed itself",
		filepath.Join(dir, "none"):                                         "no such file",
	} {
		if _, err := KeysOf(path, ""); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "QQQQ") {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	if _, err := KeysOf("", write("empty", "\n", 0o600)); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("an empty passphrase: %v", err)
	}
}

// What is sealed is opened again before it is believed, whatever kind of key it is for.
func TestSeal_opensAgain(t *testing.T) {
	if _, err := (For{}).Seal([]byte("x")); err == nil {
		t.Error("sealed for nobody")
	}
	if _, err := (For{[]age.Recipient{forgetful{}}}).Seal([]byte("x")); err == nil || !strings.Contains(err.Error(), "cannot be opened") {
		t.Errorf("sealed by what cannot be opened: %v", err)
	}
}

// forgetful is told one key of the file, and wraps another: what is sealed for it is damaged from the beginning.
type forgetful struct{}

func (forgetful) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	fileKey[0] ^= 1
	return []*age.Stanza{{Type: "forgetful"}}, nil
}

func FuzzOpen(f *testing.F) {
	var k Keys
	if err := k.AddFile([]byte("AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX")); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(head + "-> X25519 TEiF0ypqr+bpvcqXNyCVJpL7OuwPdVwPL7KQEbFDOCc\nEmECAEcKN+n/Vs9SbWiV+Hu0r+E8R77DdWYyd83nw7U\n--- Vn+54jqiiUCE+WZcEVY3f1sqHjlu/z1LCQ/T7Xm7qI0\n"))
	f.Add([]byte(armorHead))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := k.Open(data); err == nil && !Sealed(data) {
			t.Error("opened what is not sealed")
		}
	})
}
