package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/process"
)

// holdPIDForever is a process that holds the pid file it is given, until it is ended.
func holdPIDForever() {
	if _, err := process.HoldPIDFile(os.Args[1]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("held")
	select {}
}

func startHolder(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	holder := exec.Command("holdpid", path)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { holder.Process.Kill(); holder.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the holder says %q (%v)", line, err)
	}
	return holder
}

func TestPIDFileNamesOnlyALivingHolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pid")
	wantHolder(t, path, 0)

	holder := startHolder(t, path)
	wantHolder(t, path, holder.Process.Pid)
	text, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(text)) != strconv.Itoa(holder.Process.Pid) {
		t.Errorf("the file says %q (%v)", text, err)
	}
	if out, err := exec.Command("holdpid", path).Output(); err == nil {
		t.Errorf("a second process holds it too: %s", out)
	}

	holder.Process.Kill()
	holder.Wait()
	wantHolder(t, path, 0)
}

func wantHolder(t *testing.T, path string, want int) {
	t.Helper()
	if got, err := process.PIDFileHolder(path); got != want || err != nil {
		t.Errorf("held by %d (%v), want %d", got, err, want)
	}
}

func TestStopServeEndsTheHolder(t *testing.T) {
	t.Parallel()
	dir := dataDir(t.TempDir())
	holder := startHolder(t, dir.servePID())
	served, err := stopServe(t.Context(), dir)
	if !served || err != nil {
		t.Fatalf("served %t, %v", served, err)
	}
	if err := holder.Wait(); err == nil {
		t.Error("the holder ended by itself")
	}
	wantHolder(t, dir.servePID(), 0)
}
