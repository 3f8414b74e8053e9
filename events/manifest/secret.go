package manifest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	// LastApplied is the annotation in which kubectl apply keeps the whole manifest: of a Secret, its values too.
	LastApplied = corev1.LastAppliedConfigAnnotation
	// Withheld is the annotation of a Secret that is shown without its values. It says why, and is never taken.
	Withheld = "podman-swarm.github.com/withheld"

	sealedMark = "\x00sealed\x00" // no text, and no key or certificate, begins like this
	sealedText = "sealed:"
)

// MarkSealed gives what is to stand in a Secret in place of a value: sealed, marked as that.
func MarkSealed(sealed []byte) []byte { return append([]byte(sealedMark), sealed...) }

// SealedIn gives what MarkSealed was given; false for any other value.
func SealedIn(value []byte) ([]byte, bool) { return bytes.CutPrefix(value, []byte(sealedMark)) }

// MarkSealedText is MarkSealed for an annotation.
func MarkSealedText(sealed []byte) string {
	return sealedText + base64.StdEncoding.EncodeToString(sealed)
}

// SealedInText gives what MarkSealedText was given; false for any other text.
func SealedInText(text string) ([]byte, bool) {
	text, ok := strings.CutPrefix(text, sealedText)
	sealed, err := base64.StdEncoding.DecodeString(text)
	return sealed, ok && err == nil
}

// defaultSecret also moves stringData into data, of which it is another way to write.
func defaultSecret(s *corev1.Secret) {
	or(&s.Type, corev1.SecretTypeOpaque)
	for k, v := range s.StringData {
		if s.Data == nil {
			s.Data = map[string][]byte{}
		}
		s.Data[k] = []byte(v)
	}
	s.StringData = nil
}

// validateSecret never has a value in what it says. What is sealed cannot be looked into, and was before it was.
func validateSecret(s, old *corev1.Secret) field.ErrorList {
	var c checks
	data := field.NewPath("data")
	oneOf(&c, field.NewPath("type"), s.Type, corev1.SecretTypeOpaque, corev1.SecretTypeTLS)
	if old != nil && s.Type != old.Type {
		c.add(field.Invalid(field.NewPath("type"), s.Type, validation.FieldImmutableErrorMsg+": delete the Secret first"))
	}
	size, sealed := 0, false
	for _, k := range slices.Sorted(maps.Keys(s.Data)) {
		_, is := SealedIn(s.Data[k])
		size, sealed = size+len(s.Data[k]), sealed || is
		for _, m := range utilvalidation.IsConfigMapKey(k) {
			c.add(field.Invalid(data.Key(k), field.OmitValueType{}, m))
		}
	}
	if size > corev1.MaxSecretSize && !sealed {
		c.add(field.TooLong(data, "", corev1.MaxSecretSize))
	}
	if why, ok := s.Annotations[Withheld]; ok {
		c.add(field.Forbidden(field.NewPath("metadata", "annotations").Key(Withheld), "this is a Secret as it is shown without its values ("+why+"): nothing is known of them"))
	} else if s.Type == corev1.SecretTypeTLS {
		c.pair(data, s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
	}
	return c.errs
}

// pair checks that a certificate and a key are there, can be read, and belong together.
func (c *checks) pair(path *field.Path, cert, key []byte) {
	before := len(c.errs)
	wrong := func(at *field.Path, text string, args ...any) {
		c.add(field.Invalid(at, field.OmitValueType{}, fmt.Sprintf(text, args...)))
	}
	certAt, keyAt := path.Key(corev1.TLSCertKey), path.Key(corev1.TLSPrivateKeyKey)
	sealed := false
	for _, p := range []struct {
		at    *field.Path
		value []byte
		what  string
	}{{certAt, cert, "the certificate"}, {keyAt, key, "its private key"}} {
		if _, is := SealedIn(p.value); is {
			sealed = true
		} else if len(p.value) == 0 {
			c.add(field.Required(p.at, fmt.Sprintf("a Secret of type %s holds %s there, in PEM", corev1.SecretTypeTLS, p.what)))
		}
	}
	if len(c.errs) > before || sealed {
		return
	}
	n := 0
	for rest := cert; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			continue
		}
		n++
		if _, err := x509.ParseCertificate(b.Bytes); err != nil {
			wrong(certAt, "certificate %d of the chain cannot be read: %v", n, err)
		}
	}
	if n == 0 {
		wrong(certAt, "holds no PEM block of a certificate")
	}
	if !hasKey(key) {
		wrong(keyAt, "holds no PEM block of a private key")
	}
	if len(c.errs) > before {
		return
	}
	switch _, err := tls.X509KeyPair(cert, key); {
	case err == nil:
	case strings.Contains(err.Error(), "does not match"):
		wrong(keyAt, "does not belong to the certificate in %s, of which the first is to be the key's own", corev1.TLSCertKey)
	default: // whose text could say something of the key
		wrong(keyAt, "cannot be read as a private key: want PKCS #8, PKCS #1 or SEC 1, and without a passphrase")
	}
}

func hasKey(value []byte) bool {
	for {
		var b *pem.Block
		if b, value = pem.Decode(value); b == nil {
			return false
		}
		if b.Type == "PRIVATE KEY" || strings.HasSuffix(b.Type, " PRIVATE KEY") {
			return true
		}
	}
}

// confidential reports whether the field at path may hold a Secret's values, which are in no message.
func (r Resource) confidential(path string) bool {
	if r.Kind != "Secret" {
		return false
	}
	for _, p := range []string{"data", "stringData", "metadata.annotations"} {
		if rest, ok := strings.CutPrefix(path, p); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

// written is the path under which the value at path stands in the manifest, which may have it in stringData.
func (s *source) written(path string) string {
	if rest, ok := strings.CutPrefix(path, "data"); ok && s.resource.Kind == "Secret" && s.inText[rest] {
		return "stringData" + rest
	}
	return path
}

// textOf are the keys of a Secret's stringData, as paths below it have them.
func textOf(o Object) map[string]bool {
	s, ok := o.(*corev1.Secret)
	if !ok || len(s.StringData) == 0 {
		return nil
	}
	all := map[string]bool{}
	for k := range s.StringData {
		all["["+k+"]"] = true
	}
	return all
}
