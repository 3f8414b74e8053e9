// Package bucket keeps backups in a store that speaks S3: of Amazon, or of anybody who has the like, MinIO, Ceph, Garage. It knows nothing of what it keeps.
package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Bucket is a bucket, and what the names in it begin with. It is safe for concurrent use.
type Bucket struct {
	client *minio.Client
	name   string
	prefix string // "" or with a slash at its end
}

// Open is the bucket that an address names: s3://BUCKET/PREFIX, and, where it is not Amazon's, ?endpoint=https://HOST:PORT, and region=NAME where the store
// wants one. Who asks is in AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or in ~/.aws/credentials (AWS_SHARED_CREDENTIALS_FILE,
// AWS_PROFILE), never in the address. Nobody is asked yet.
func Open(address string) (*Bucket, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, errors.New("not an address") // the error has the address, and people put secrets there
	case u.User != nil:
		return nil, errors.New("secrets do not belong into the address, where others see them: put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials")
	case u.Scheme != "s3" || u.Host == "":
		return nil, errors.New("want s3://BUCKET/PREFIX")
	}
	query := u.Query()
	endpoint, err := url.Parse(query.Get("endpoint"))
	if query.Get("endpoint") == "" {
		endpoint, err = url.Parse("https://s3.amazonaws.com")
	}
	if err != nil || endpoint.Host == "" || endpoint.User != nil || endpoint.Scheme != "https" && endpoint.Scheme != "http" {
		return nil, errors.New("want endpoint=https://HOST:PORT")
	}
	for name := range query {
		if name != "endpoint" && name != "region" {
			return nil, fmt.Errorf("%s is not known: there are endpoint and region", name)
		}
	}
	client, err := minio.New(endpoint.Host, &minio.Options{
		Secure: endpoint.Scheme == "https", Region: query.Get("region"),
		Creds:      credentials.NewChainCredentials([]credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}}),
		MaxRetries: 1, // whoever calls tries again, and says so
	})
	if err != nil {
		return nil, err
	}
	b := &Bucket{client: client, name: u.Host, prefix: strings.Trim(u.Path, "/")}
	if b.prefix != "" {
		b.prefix += "/"
	}
	return b, nil
}

// Put puts something there; when it returns nil the store has said that it has it, by its checksum.
func (b *Bucket) Put(ctx context.Context, name string, data []byte) error {
	_, err := b.client.PutObject(ctx, b.name, b.prefix+name, bytes.NewReader(data), int64(len(data)),
		minio.PutObjectOptions{ContentType: "application/octet-stream", SendContentMd5: true})
	return b.says(err)
}

// Get reads what has a name; the error wraps fs.ErrNotExist where nothing has.
func (b *Bucket) Get(ctx context.Context, name string) ([]byte, error) {
	o, err := b.client.GetObject(ctx, b.name, b.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, b.says(err)
	}
	defer o.Close()
	data, err := io.ReadAll(o)
	return data, b.says(err)
}

// Sizes gives the names of all that is there, and how many bytes each has.
func (b *Bucket) Sizes(ctx context.Context) (map[string]int64, error) {
	all := map[string]int64{}
	for o := range b.client.ListObjects(ctx, b.name, minio.ListObjectsOptions{Prefix: b.prefix, Recursive: true}) {
		if o.Err != nil {
			return nil, b.says(o.Err)
		}
		all[strings.TrimPrefix(o.Key, b.prefix)] = o.Size
	}
	return all, ctx.Err()
}

// says is an error in words that have the bucket in them.
func (b *Bucket) says(err error) error {
	if err == nil {
		return nil
	}
	switch minio.ToErrorResponse(err).Code {
	case "NoSuchKey":
		return fmt.Errorf("bucket %s: %w", b.name, fs.ErrNotExist)
	case "NoSuchBucket":
		return fmt.Errorf("there is no bucket %s: make it first", b.name)
	}
	return fmt.Errorf("bucket %s: %w", b.name, err)
}
