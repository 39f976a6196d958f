package kubetest

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"text/template"
	"time"

	"k8s.io/client-go/rest"

	"github.com/backstay/backstay/internal/wait"
)

// control is the address of what is there once: the API server and DNS.
const control = "10.88.0.254"

// server is where the API is.
const server = control + ":6443"

// lockFile is held by all who run a cluster together, or by who makes what they consist of. With a number behind it, it
// is held by who runs the cluster of that number.
const lockFile = "/run/lock/backstay-kubernetes"

// most is how many clusters run on a machine at a time. Each takes about 40 of the 128 places from which the programs
// of a user may watch files.
const most = 3

//go:embed files
var files embed.FS

// Cluster is one that runs.
type Cluster struct {
	made  string // what scripts/kubernetes has made
	run   string // the directory that goes with the cluster
	group group
	nodes []string
	locks []*os.File
	pki   *authority
	in    *namespaces

	mu       sync.Mutex
	programs map[string]*program
}

// program is one that runs, or ran.
type program struct {
	cmd  *exec.Cmd
	dead chan struct{} // closed when it has been waited for
}

// start starts a cluster of so many nodes, after it has removed what is left of another of its number, and waits until
// it takes databases. It waits as long as there are as many others as there can be. The directory is what
// scripts/kubernetes has made.
func start(ctx context.Context, made string, nodes int) (c *Cluster, err error) {
	number, locks, err := takeNumber(ctx)
	if err != nil {
		return nil, err
	}
	c = &Cluster{
		made: made, run: filepath.Join(cmp.Or(os.Getenv(scratchVariable), filepath.Dir(made)), fmt.Sprintf("run-%d", number)),
		locks: locks,
		group: group(fmt.Sprintf("backstay-kubernetes-%d", number)), programs: map[string]*program{},
	}
	for i := range nodes {
		c.nodes = append(c.nodes, fmt.Sprintf("node%d", i+1))
	}
	steps := []func(context.Context) error{c.clear, c.makeFiles, c.makeNamespaces, c.startControl, c.startNodes, c.furnish}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, c.complaints(), c.stop())
		}
	}
	return c, nil
}

// takeNumber waits for a number that no other cluster of this machine has. It goes with the locks.
func takeNumber(ctx context.Context) (number int, locks []*os.File, err error) {
	err = wait.Until(ctx, wait.Every(200*time.Millisecond), func() (bool, error) {
		together, err := lock(lockFile, syscall.LOCK_SH)
		if err != nil {
			return true, err
		}
		for number = range most {
			own, err := lock(fmt.Sprintf("%s-%d", lockFile, number), syscall.LOCK_EX)
			if err == nil {
				locks = []*os.File{own, together}
				return false, nil
			}
		}
		return true, errors.Join(fmt.Errorf("%d clusters run", most), together.Close())
	})
	if err != nil {
		return 0, nil, fmt.Errorf("wait until another cluster may run: %w", err)
	}
	return number, locks, nil
}

// lock takes the lock of a file, at once or not at all.
func lock(name string, how int) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// clear removes what is left of a cluster whose test was killed.
func (c *Cluster) clear(ctx context.Context) error {
	if err := c.group.killAll(ctx, ""); err != nil {
		return err
	}
	return errors.Join(c.group.remove(ctx), os.RemoveAll(c.run))
}

// stop ends the cluster and removes all of it.
func (c *Cluster) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	if c.in != nil {
		err = c.in.end()
	}
	err = errors.Join(err, c.clear(ctx))
	for _, held := range c.locks {
		err = errors.Join(err, held.Close())
	}
	return err
}

// makeFiles makes the directory of the cluster, with certificates and configuration.
func (c *Cluster) makeFiles(context.Context) (err error) {
	for _, dir := range []string{"etcd", "log", "network", "volumes"} {
		if err := os.MkdirAll(filepath.Join(c.run, dir), 0o711); err != nil {
			return err
		}
	}
	if c.pki, err = newAuthority(filepath.Join(c.run, "pki")); err != nil {
		return err
	}
	names := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	subjects := []subject{
		{file: "server", name: "kube-apiserver", names: names, addresses: []string{control, "10.96.0.1", "127.0.0.1"}},
		{file: "admin", name: "admin", organization: "system:masters"},
	}
	for i, node := range c.nodes {
		subjects = append(subjects, subject{file: node, name: "system:node:" + node, organization: "system:nodes",
			names: []string{node}, addresses: []string{address(i)}})
	}
	for _, s := range subjects {
		if err := c.pki.issue(s); err != nil {
			return err
		}
	}
	for _, name := range []string{"proxy.yaml", "network/network.conflist", "Corefile"} {
		if err := c.render(filepath.Base(name), name, fields{}); err != nil {
			return err
		}
	}
	for i, node := range c.nodes {
		own := fields{Node: node, Address: address(i)}
		if err := errors.Join(c.render("kubelet.yaml", node+".yaml", own), c.render("containerd.toml", node+".toml", own),
			c.kubeconfig(node)); err != nil {
			return err
		}
	}
	return c.kubeconfig("admin")
}

// address returns that of a node.
func address(i int) string { return fmt.Sprintf("10.88.0.%d", i+1) }

// fields are what the files of configuration can name.
type fields struct {
	Made, Run, Group, Server, Node, Address string
	Authority, Certificate, Key             string
}

// render writes a file of configuration into the cluster's directory.
func (c *Cluster) render(name, to string, f fields) error {
	f.Made, f.Run, f.Group, f.Server = c.made, c.run, string(c.group), server
	parsed, err := template.ParseFS(files, "files/"+name)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := parsed.Execute(&text, f); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.run, to), text.Bytes(), 0o600)
}

// kubeconfig writes the one of a program or a person whose certificate there is.
func (c *Cluster) kubeconfig(name string) error {
	authority, err := c.pki.inline("ca.pem")
	certificate, err2 := c.pki.inline(name + ".pem")
	key, err3 := c.pki.inline(name + ".key")
	if err := cmp.Or(err, err2, err3); err != nil {
		return err
	}
	return c.render("kubeconfig.yaml", name+".conf", fields{Authority: authority, Certificate: certificate, Key: key})
}

// makeNamespaces begins the cluster's namespaces and prepares them.
func (c *Cluster) makeNamespaces(ctx context.Context) (err error) {
	if err := c.group.make(c.nodes); err != nil {
		return fmt.Errorf("make control groups: %w", err)
	}
	if c.in, err = newNamespaces(filepath.Join(c.made, "bin", "pause")); err != nil {
		return err
	}
	if err := c.group.join(c.in.first.Pid, ""); err != nil {
		return err
	}
	script, err := files.ReadFile("files/prepare.sh")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-s", c.made, c.run, fmt.Sprint(len(c.nodes)))
	cmd.Stdin = bytes.NewReader(script)
	if out, err := c.output(cmd); err != nil {
		return fmt.Errorf("prepare namespaces: %w: %s", err, out)
	}
	return nil
}

// output runs a command in the namespaces and returns all that it says.
func (c *Cluster) output(cmd *exec.Cmd) ([]byte, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := c.in.start(cmd); err != nil {
		return nil, err
	}
	err := cmd.Wait()
	return out.Bytes(), err
}

// Config is for clients of the cluster's API in this process, as its administrator.
func (c *Cluster) Config() *rest.Config {
	pki := filepath.Join(c.run, "pki")
	return &rest.Config{
		Host: "https://" + server, Dial: c.Dial, Timeout: time.Minute, QPS: 100, Burst: 200,
		TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(pki, "ca.pem"),
			CertFile: filepath.Join(pki, "admin.pem"), KeyFile: filepath.Join(pki, "admin.key")},
	}
}

// Kubeconfig is the administrator's file for programs that [Cluster.Enter] starts.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.run, "admin.conf") }

// Program is the path of a program that clusters consist of.
func (c *Cluster) Program(name string) string { return filepath.Join(c.made, "bin", name) }

// Nodes are the names of the nodes.
func (c *Cluster) Nodes() []string { return c.nodes }

// Dial connects to what is in the cluster: a node, a pod, or a service by its address or its name, SERVICE.NAMESPACE.
func (c *Cluster) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return c.in.dial(ctx, network, address)
}

// Network is the cluster's network as a file, for programs that enter it by themselves: nsenter --net=FILE.
func (c *Cluster) Network() string { return fmt.Sprintf("/proc/%d/ns/net", c.in.first.Pid) }

// Enter calls f on a thread that is in the cluster's network. What f starts or listens to is there as well.
func (c *Cluster) Enter(f func() error) error { return c.in.enter(f) }

// ready asks the API server whether it is.
func (c *Cluster) ready(ctx context.Context) error {
	client, err := rest.HTTPClientFor(c.Config())
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	return wait.Until(ctx, wait.Every(50*time.Millisecond), func() (bool, error) {
		if c.dead("api") || c.dead("etcd") {
			return false, errors.New("the API server has ended")
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+server+"/readyz", nil)
		if err != nil {
			return false, err
		}
		answer, err := client.Do(request)
		if err != nil {
			return true, err
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return true, fmt.Errorf("the API server says %s", answer.Status)
		}
		return false, nil
	})
}
