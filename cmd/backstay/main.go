// Command backstay gives a team its backing services. One binary has every role: serve is the
// control plane, keep the data plane of this machine, and the others are for operators.
//
// Rooms are put together in wire.go and nowhere else; what a command decides belongs in a room below.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := &cli{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Getenv, root: os.Geteuid() == 0}
	os.Exit(c.run(ctx, os.Args[1:]))
}

// commands are all that the binary does, in the order of "backstay help".
func commands() []command {
	return []command{
		{"serve", "run the control plane: the Cloud Foundry API and the broker behind it", serveUsage, serve},
		{brokerCommand, "run the control plane without the market, for other platforms alone", brokerUsage, serveBroker},
		{"keep", "run the data plane of this machine (serve starts it by itself)", keepUsage, keep},
		{"front", "", frontUsage, runFront},                    // no summary: the keeper starts it, and nobody types it
		{mongodbFront, "", mongodbFrontUsage, runMongoDBFront}, // likewise
		{opensearchFront, "", opensearchFrontUsage, runOpenSearchFront},
		{"stop", "end the control plane and every database, keeping all data", stopUsage, stop},
		{"env", "print what a shell needs to use this Backstay with cf", envUsage, printEnv},
		{"run", "run a local command with the environment of an app", runUsage, runApp},
		{"trust", "make this machine's programs trust the services' authority", trustUsage, trust},
		{"config", "print the settings in force, and where each comes from", configUsage, printConfig},
		{"doctor", "say what is found on this machine and what is missing", doctorUsage, doctor},
		{"admin-password", "make a new password for the user admin", adminPasswordUsage, adminPassword},
		{"rotate-credentials", "give the platform's own passwords and keys other values", rotateUsage, rotateCredentials},
		{"rotate-seal-key", "have another key open all secrets, in the place of the one before", rotateSealKeyUsage,
			rotateSealKey},
		{"backups", "list what is kept of service instances, and what can be restored", backupsUsage, showBackups},
		{"begin-repository", "keep backups in another repository from now on", beginRepositoryUsage, beginRepository},
		{"verify", "restore the newest backup of an instance into a scratch place, and check it", verifyUsage, verify},
		{"delete", "end an instance whose last backup cannot be taken, or remove what is kept of one", deleteUsage,
			deleteForGood},
		{"restore", "make a new instance from what is kept of one, also of a deleted one", restoreUsage, restore},
		{"copy", "copy an instance into another space, or consent to that", copyUsage, copyInstance},
		{"drill", "have standbys take over, and show what that cost their clients", drillUsage, drill},
		{"backup-platform", "back up the platform's own database now", backupPlatformUsage, backupPlatform},
		{"restore-platform", "restore a whole Backstay on a new machine, from its repository and its key file",
			restorePlatformUsage, restorePlatform},
		{"usage", "show what was used, and what it costs", usageUsage, showUsage},
		{"user", "list users, make them administrators, give them new passwords", userUsage, manageUsers},
		{"client", "make clients for programs that log in by themselves, and end them", clientUsage, manageClients},
		{"osb-client", "let other platforms use the broker, and keep them out again", osbClientUsage, manageOSBClients},
		{"version", "print the version", versionUsage, printVersion},
		{"help", "print this, or the usage of a command", helpUsage, help},
	}
}
