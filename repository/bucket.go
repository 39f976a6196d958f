package repository

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/backstay/backstay"
)

// bucket is a part of a repository that is an object store.
type bucket struct {
	client *minio.Core
	store  backstay.ObjectStore
	prefix string // of the names of the part's objects, with a slash at its end; empty: the whole bucket
}

const (
	wholeSize = 8 << 20  // what is no larger is sent at once
	partSize  = 64 << 20 // of what is: at most 10,000 parts make an object
	tries     = 2        // of one request
)

// firstRegion is that of stores which have none. It is not asked of the store: some do not let everybody know.
const firstRegion = "us-east-1"

func openBucket(o backstay.ObjectStore, part string) (place, error) {
	transport, err := transportOf(o)
	if err != nil {
		return nil, err
	}
	client, err := minio.NewCore(o.Endpoint, &minio.Options{
		Creds:  credentials.NewStaticV4(o.AccessKey, o.SecretKey.Reveal(), ""),
		Secure: true, Region: cmp.Or(o.Region, firstRegion), Transport: transport, MaxRetries: tries,
	})
	if err != nil {
		return nil, backstay.Wrapf(err, backstay.Invalid, "%q is not the endpoint of an object store, as in "+
			"s3.example.org or s3.example.org:9000.", o.Endpoint)
	}
	prefix := path.Join(o.Prefix, part)
	if prefix != "" {
		prefix += "/"
	}
	return bucket{client, o, prefix}, nil
}

// put sends small content at once, which can be tried again, and larger in parts, of which nothing is seen before all
// of them are there.
func (b bucket) put(ctx context.Context, name string, r io.Reader) error {
	var beginning bytes.Buffer
	_, err := io.CopyN(&beginning, r, wholeSize)
	switch {
	case err == io.EOF:
		whole := bytes.NewReader(beginning.Bytes())
		_, err = b.client.Client.PutObject(ctx, b.store.Bucket, b.prefix+name, whole, whole.Size(), minio.PutObjectOptions{})
	case err == nil:
		_, err = b.client.Client.PutObject(ctx, b.store.Bucket, b.prefix+name, io.MultiReader(&beginning, r), -1,
			minio.PutObjectOptions{PartSize: partSize})
	}
	return b.trouble(ctx, err)
}

func (b bucket) get(ctx context.Context, name string) (io.ReadCloser, error) {
	content, _, _, err := b.client.GetObject(ctx, b.store.Bucket, b.prefix+name, minio.GetObjectOptions{})
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return nil, absent(name)
	}
	if err != nil {
		return nil, b.trouble(ctx, err)
	}
	return downloads{ctx, b, content}, nil
}

func (b bucket) list(ctx context.Context, prefix string) ([]Entry, error) {
	var entries []Entry
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for o := range b.client.Client.ListObjects(ctx, b.store.Bucket,
		minio.ListObjectsOptions{Prefix: b.prefix + prefix, Recursive: true}) {
		if o.Err != nil {
			return nil, b.trouble(ctx, o.Err)
		}
		if name := strings.TrimPrefix(o.Key, b.prefix); check(name) == nil {
			entries = append(entries, entryOf(name, o.Size, o.LastModified))
		}
	}
	return entries, ctx.Err()
}

func (b bucket) any(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for o := range b.client.Client.ListObjects(ctx, b.store.Bucket,
		minio.ListObjectsOptions{Prefix: b.prefix, Recursive: true, MaxKeys: 1}) {
		return o.Err == nil, b.trouble(ctx, o.Err)
	}
	return false, ctx.Err()
}

func (b bucket) words(ctx context.Context) (words []string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for o := range b.client.Client.ListObjects(ctx, b.store.Bucket, minio.ListObjectsOptions{Prefix: b.prefix}) {
		if o.Err != nil {
			return nil, b.trouble(ctx, o.Err)
		}
		word, parted := strings.CutSuffix(strings.TrimPrefix(o.Key, b.prefix), "/")
		if parted && wordy.MatchString(word) {
			words = append(words, word)
		}
	}
	return words, ctx.Err()
}

// remove asks for each object by itself: not all stores know how to remove many at once.
func (b bucket) remove(ctx context.Context, names []string) error {
	for _, name := range names {
		err := b.client.RemoveObject(ctx, b.store.Bucket, b.prefix+name, minio.RemoveObjectOptions{})
		if err != nil && minio.ToErrorResponse(err).Code != minio.NoSuchKey {
			return b.trouble(ctx, err)
		}
	}
	return nil
}

func (b bucket) sweep(ctx context.Context, before time.Time) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for upload := range b.client.ListIncompleteUploads(ctx, b.store.Bucket, b.prefix, true) {
		if upload.Err != nil {
			return b.trouble(ctx, upload.Err)
		}
		if !upload.Initiated.Before(before) {
			continue
		}
		err := b.client.AbortMultipartUpload(ctx, b.store.Bucket, upload.Key, upload.UploadID)
		if err != nil && minio.ToErrorResponse(err).Code != minio.NoSuchUpload {
			return b.trouble(ctx, err)
		}
	}
	return ctx.Err()
}

// downloads is the content of an object as it comes.
type downloads struct {
	ctx  context.Context
	from bucket
	io.ReadCloser
}

func (d downloads) Read(p []byte) (int, error) {
	n, err := d.ReadCloser.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return n, unavailable(err, d.from.name(), "broke off in the middle of an object.")
	}
	return n, d.from.trouble(d.ctx, err)
}
