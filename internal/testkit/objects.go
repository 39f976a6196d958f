package testkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay"
)

// Objects is an object store of a test: a real server of the protocol S3, over TLS, on a directory.
type Objects struct {
	backstay.ObjectStore
	Dir string // where each object of the bucket is a file of its name

	server *exec.Cmd
}

// LogValue is the store without its secret key.
func (o *Objects) LogValue() slog.Value { return o.ObjectStore.LogValue() }

// ObjectStore starts an object store with an empty bucket, which ends with the test. The test is skipped where "make
// clients" has not built the server.
func ObjectStore(t testing.TB) *Objects {
	t.Helper()
	_, self, _, _ := runtime.Caller(0)
	program := filepath.Join(filepath.Dir(self), "..", "..", "bin", "versitygw")
	if _, err := os.Stat(program); err != nil {
		t.Skipf("there is no %s: make clients builds it", program)
	}
	root, port := Dir(t), 0
	port, _ = Ports(t, 1)
	o := &Objects{Dir: filepath.Join(root, "store", "backups"), ObjectStore: backstay.ObjectStore{
		Endpoint: fmt.Sprintf("localhost:%d", port), Bucket: "backups", Region: "us-east-1", AccessKey: "backstay",
		SecretKey: "the secret of a test", Authority: filepath.Join(root, "certificate.pem"),
	}}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(root, "key.pem")
	certify(t, o.Authority, keyFile)
	o.server = exec.Command(program, "--port", fmt.Sprintf("127.0.0.1:%d", port), "--cert", o.Authority, "--key", keyFile,
		"--quiet", "posix", "--sidecar", filepath.Join(root, "metadata"), filepath.Join(root, "store"))
	o.start(t, root)
	return o
}

func (o *Objects) start(t testing.TB, root string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(root, "metadata"), 0o700); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(root, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	o.server.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+o.AccessKey, "ROOT_SECRET_KEY="+o.SecretKey.Reveal())
	o.server.Stdout, o.server.Stderr, o.server.Dir = log, log, root
	o.server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := startBound(o.server); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Stop)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		conn, err := tls.Dial("tcp", o.Endpoint, &tls.Config{InsecureSkipVerify: true})
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("the object store does not answer: %v\n%s", err, text)
		}
	}
}

// startBound starts a process that ends with this one. The kernel takes the death of the thread that started it for
// ours, so that thread belongs to the process from then on.
func startBound(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
		runtime.UnlockOSThread()
	}()
	return <-started
}

// Pause makes the server stop in the middle of whatever it does, until Resume.
func (o *Objects) Pause() { o.server.Process.Signal(syscall.SIGSTOP) }

// Resume lets the server go on.
func (o *Objects) Resume() { o.server.Process.Signal(syscall.SIGCONT) }

// Stop ends the server.
func (o *Objects) Stop() { o.server.Process.Kill() }

// certify writes a certificate for this machine that signs itself, and its key.
func certify(t testing.TB, certificateFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		// The second one is how a cluster for tests knows this machine, see kubetest.
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 88, 0, 254)}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{
		certificateFile: {Type: "CERTIFICATE", Bytes: certificate}, keyFile: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
