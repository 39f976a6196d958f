package repository

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/backstay/backstay"
)

// patience is how long an object store may let us wait for anything.
const patience = 10 * time.Second

// transportOf is how an object store is spoken with: over TLS, and with patience.
func transportOf(o backstay.ObjectStore) (*http.Transport, error) {
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: false, DisableCompression: true,
		TLSHandshakeTimeout: patience, IdleConnTimeout: patience, MaxIdleConnsPerHost: 4,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{Timeout: patience / 2}).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return impatient{conn}, nil
		},
	}
	if o.Authority == "" {
		return t, nil
	}
	text, err := os.ReadFile(o.Authority)
	if err != nil {
		return nil, backstay.Wrapf(err, backstay.Unavailable,
			"The file %s, with the certificates to trust for the repository, cannot be read.", o.Authority)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(text) {
		return nil, backstay.Errorf(backstay.Unavailable,
			"The file %s, with the certificates to trust for the repository, holds none in PEM form.", o.Authority)
	}
	return t, nil
}

// impatient is a connection on which something must happen again and again.
type impatient struct{ net.Conn }

func (c impatient) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write lets a Read wait anew as well: as long as we send, there is no answer.
func (c impatient) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// name is what the store is called in sentences.
func (b bucket) name() string { return b.store.Endpoint + "/" + b.store.Bucket }

// sentences are what the codes of an object store's errors mean.
var sentences = map[string]string{
	minio.NoSuchBucket:               "is not there: the operator must make the bucket, or name another one.",
	minio.AccessDenied:               "refuses its access key: it needs the rights to read, write, list and remove.",
	"XAdminUserNotFound":             "does not know its access key.",
	"InvalidAccessKeyId":             "does not know its access key.",
	"SignatureDoesNotMatch":          "refuses its access key: the secret key is not the right one.",
	"RequestTimeTooSkewed":           "refuses us because the clocks differ: set that of this machine.",
	"SlowDown":                       "is too slow: it asks for fewer requests.",
	"ServiceUnavailable":             "is away: it answers that it serves nobody now.",
	"InsufficientStorage":            full,
	"QuotaExceeded":                  full,
	"XMinioStorageFull":              full,
	"XMinioAdminBucketQuotaExceeded": full,
}

const full = "is full: the operator can make room there, or have more room given to it."

// trouble gives an error of the object store, or of the way there, its sentence.
func (b bucket) trouble(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || backstay.KindOf(err) != backstay.Internal {
		return err
	}
	if answer := minio.ToErrorResponse(err); answer.StatusCode != 0 {
		return b.refused(err, answer)
	}
	var timeout net.Error
	var untrusted *tls.CertificateVerificationError
	var unresolved *net.DNSError
	var broken *net.OpError
	switch {
	case errors.As(err, &untrusted):
		return unavailable(err, b.name(), "has a certificate that is not trusted: name its authority in the settings.")
	case errors.As(err, &unresolved):
		return unavailable(err, b.name(), "is away: there is no machine of that name.")
	case errors.As(err, &timeout) && timeout.Timeout():
		return unavailable(err, b.name(), "is away or too slow: it has let us wait for "+patience.String()+".")
	case errors.As(err, &broken):
		return unavailable(err, b.name(), "is away: the connection to it is refused or broke.")
	}
	return unavailable(err, b.name(), "is away: it does not answer as an object store does.")
}

func (b bucket) refused(err error, answer minio.ErrorResponse) error {
	if sentence := sentences[answer.Code]; sentence != "" {
		return unavailable(err, b.name(), sentence)
	}
	switch answer.StatusCode {
	case http.StatusForbidden, http.StatusUnauthorized:
		return unavailable(err, b.name(), sentences[minio.AccessDenied])
	case http.StatusInsufficientStorage:
		return unavailable(err, b.name(), full)
	}
	return unavailable(err, b.name(), "answers with an error: "+answer.Code+".")
}
