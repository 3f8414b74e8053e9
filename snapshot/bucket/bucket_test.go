package bucket

import (
	"strings"
	"testing"
)

// What is wrong with an address is said, and nothing of it that may be a secret.
func TestOpen_addresses(t *testing.T) {
	for _, good := range []string{"s3://b", "s3://b/p/q/", "s3://b?endpoint=https://s3.example.com&region=x", "s3://b/p?endpoint=http://127.0.0.1:9000"} {
		if _, err := Open(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, wrong := range []string{"s3://", "https://s3.example.com/b", "s3://key:hush@b", "s3://b?endpoint=s3.example.com", "s3://b?secret=hush",
		"s3://b?endpoint=https://key:hush@s3.example.com", "s3://b/%zz?hush"} {
		if _, err := Open(wrong); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: got %v", wrong, err)
		}
	}
}
