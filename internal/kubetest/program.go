package kubetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/backstay/backstay/internal/wait"
)

// launch starts a program in the namespaces, whose log is of that name, and puts it into the group of a node, or of the
// cluster.
func (c *Cluster) launch(name, node string, words ...string) error {
	log, err := os.OpenFile(c.log(name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(c.made, "bin", words[0]), words[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = c.run
	// Memory there is plenty of, and of processors there is not: garbage is collected less often.
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(c.made, "bin")+":"+os.Getenv("PATH"), "GOGC=400")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the keyboard is for the test
	if err := c.in.start(cmd); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	p := &program{cmd: cmd, dead: make(chan struct{})}
	go func() {
		defer close(p.dead)
		cmd.Wait()
	}()
	c.mu.Lock()
	c.programs[name] = p
	c.mu.Unlock()
	if err := c.group.join(cmd.Process.Pid, node); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// kill kills a program and returns when it is dead.
func (c *Cluster) kill(name string) {
	c.mu.Lock()
	p := c.programs[name]
	c.mu.Unlock()
	p.cmd.Process.Kill()
	<-p.dead
}

// dead tells whether a program has ended.
func (c *Cluster) dead(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.programs[name].dead:
		return true
	default:
		return false
	}
}

// lives fails once a program has ended: nothing starts it again, and there is no use in waiting for it.
func (c *Cluster) lives() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, p := range c.programs {
		select {
		case <-p.dead:
			return fmt.Errorf("%s has ended", name)
		default:
		}
	}
	return nil
}

func (c *Cluster) log(name string) string { return filepath.Join(c.run, "log", name) }

// complaints are the last words of every program that has died, or of all if none has.
func (c *Cluster) complaints() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var dead, alive []error
	for name, p := range c.programs {
		select {
		case <-p.dead:
			dead = append(dead, fmt.Errorf("%s ended, %v: %s", name, p.cmd.ProcessState, tail(c.log(name))))
		default:
			alive = append(alive, fmt.Errorf("%s: %s", name, tail(c.log(name))))
		}
	}
	if len(dead) > 0 {
		return errors.Join(dead...)
	}
	return errors.Join(alive...)
}

// tail returns the end of a file.
func tail(file string) string {
	const length = 1500
	f, err := os.Open(file)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	f.Seek(-length, io.SeekEnd) // or from the start, if there is less
	text, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// startControl starts the API, and what makes it true.
func (c *Cluster) startControl(ctx context.Context) error {
	if err := c.startAPI(ctx); err != nil {
		return err
	}
	config := filepath.Join(c.run, "admin.conf")
	clients := []string{"--kubeconfig=" + config, "--authentication-kubeconfig=" + config,
		"--authorization-kubeconfig=" + config, "--leader-elect=false", "--bind-address=127.0.0.1"}
	pki := filepath.Join(c.run, "pki")
	return errors.Join(
		c.launch("controllers", "", append([]string{"kubernetes", "kube-controller-manager",
			"--service-account-private-key-file=" + pki + "/accounts.key", "--root-ca-file=" + pki + "/ca.pem",
			"--cluster-signing-cert-file=" + pki + "/ca.pem", "--cluster-signing-key-file=" + pki + "/ca.key",
			"--use-service-account-credentials", "--node-monitor-grace-period=20s", "--node-monitor-period=2s",
		}, clients...)...),
		c.launch("scheduler", "", append([]string{"kubernetes", "kube-scheduler"}, clients...)...),
		c.launch("proxy", "", "kubernetes", "kube-proxy", "--config="+c.run+"/proxy.yaml"),
		c.launch("dns", "", "kubernetes", "coredns", "-conf", c.run+"/Corefile"),
	)
}

// startAPI starts the API server and its database, and waits until it is ready. The database writes without waiting for
// the disk, which only a fall of the machine would tell.
func (c *Cluster) startAPI(ctx context.Context) error {
	err := c.launch("etcd", "", "kubernetes", "etcd", "--data-dir="+c.run+"/etcd", "--unsafe-no-fsync",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380")
	if err != nil {
		return err
	}
	pki := filepath.Join(c.run, "pki")
	err = c.launch("api", "", "kubernetes", "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=0.0.0.0", "--advertise-address="+control, "--service-cluster-ip-range=10.96.0.0/16",
		"--client-ca-file="+pki+"/ca.pem", "--requestheader-client-ca-file="+pki+"/ca.pem",
		"--requestheader-allowed-names=nobody",
		"--tls-cert-file="+pki+"/server.pem", "--tls-private-key-file="+pki+"/server.key",
		"--kubelet-certificate-authority="+pki+"/ca.pem", "--kubelet-client-certificate="+pki+"/admin.pem",
		"--kubelet-client-key="+pki+"/admin.key", "--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+pki+"/accounts.pem",
		"--service-account-signing-key-file="+pki+"/accounts.key", "--authorization-mode=Node,RBAC", "--allow-privileged",
		"--default-not-ready-toleration-seconds=5", "--default-unreachable-toleration-seconds=5")
	if err != nil {
		return err
	}
	return c.ready(ctx)
}

// startNodes starts all nodes.
func (c *Cluster) startNodes(ctx context.Context) error {
	for i, node := range c.nodes {
		if err := c.startNode(ctx, i, node); err != nil {
			return err
		}
	}
	return nil
}

// startNode starts what runs containers, and when that listens what has it run them.
func (c *Cluster) startNode(ctx context.Context, i int, node string) error {
	err := c.launch("containerd-"+node, node, "containerd", "--config="+filepath.Join(c.run, node+".toml"))
	if err != nil {
		return err
	}
	socket := filepath.Join("/proc", strconv.Itoa(c.in.first.Pid), "root/run", node, "containerd.sock")
	err = wait.Until(ctx, wait.Every(20*time.Millisecond), func() (bool, error) {
		connection, err := net.Dial("unix", socket)
		if err != nil {
			return !c.dead("containerd-" + node), err
		}
		return false, connection.Close()
	})
	if err != nil {
		return fmt.Errorf("start containerd: %w", err)
	}
	return c.launch("kubelet-"+node, node, "kubernetes", "kubelet", "--config="+filepath.Join(c.run, node+".yaml"),
		"--kubeconfig="+filepath.Join(c.run, node+".conf"), "--root-dir="+filepath.Join(c.run, node, "kubelet"),
		"--hostname-override="+node, "--node-ip="+address(i))
}
