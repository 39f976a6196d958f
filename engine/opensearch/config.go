package opensearch

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/engine/opensearch/front"
)

// Directories below the data directory.
const (
	configDir   = front.ConfigDir // what the server is given a copy of
	storeDir    = "data"          // the server's own
	securityDir = "opensearch-security"
)

// Files below the data directory.
const (
	frontFile       = "front.json"
	certificateFile = "server.crt" // by which the front proves itself to clients
	keyFile         = "server.key"
	versionFile     = "made_by_version"
	// What proves the operator, made with the data and never again.
	operatorFile = "operator.pem"
	nodeCAFile   = "node-ca.crt"
)

// Files below configDir.
const (
	serverFile     = "opensearch.yml"
	javaFile       = "java.options"
	logFile        = "log4j2.properties"
	keystoreFile   = "opensearch.keystore"
	authorityFile  = "node-ca.crt" // made with the data, as are front.LeafFile and front.KeyFile
	operatorCAFile = "operator-ca.crt"
	knownFile      = "known.crt" // made at each start of both authorities: nobody else gets as far as to log in
)

// Names in certificates.
const (
	operator = "operator"
	nodeName = "node"
)

// keystore is an empty one, as OpenSearch makes it where there is none; that would be for its group to read.
//
//go:embed empty.keystore
var keystore string

//go:embed log4j2.properties
var logging string

const writtenByUs = "# Written at each start by Backstay: changes made here do not last.\n"

// configFiles returns the contents of the files that Prepare writes, keyed by name.
func configFiles(n engine.Node, chosen tuned) (map[string]string, error) {
	server, err := json.MarshalIndent(settingsOf(n, chosen), "", "  ") // which is YAML too
	if err != nil {
		return nil, err
	}
	way, err := json.Marshal(frontConfig(n))
	if err != nil {
		return nil, err
	}
	options, err := javaOptions(n)
	if err != nil {
		return nil, err
	}
	files := map[string]string{
		frontFile: string(way) + "\n", versionFile: n.Installation.FullVersion + "\n",
		filepath.Join(configDir, serverFile):   writtenByUs + string(server) + "\n",
		filepath.Join(configDir, javaFile):     options,
		filepath.Join(configDir, logFile):      logging,
		filepath.Join(configDir, keystoreFile): keystore,
	}
	for name, text := range firstSecurity {
		files[filepath.Join(configDir, securityDir, name)] = text
	}
	if len(n.Port(engine.ClientPort).Listen) > 0 {
		files[certificateFile], files[keyFile] = n.TLS.Leaf, n.TLS.Key.Reveal()
	}
	return files, nil
}

func frontConfig(n engine.Node) front.Config {
	clients := n.Port(engine.ClientPort)
	c := front.Config{RunDir: n.RunDir, Connections: n.Size.Connections, Certificate: certificateFile, Key: keyFile,
		Authority: nodeCAFile, Name: nodeName}
	for _, address := range clients.Listen {
		c.Listen = append(c.Listen, net.JoinHostPort(address, strconv.Itoa(clients.Number)))
	}
	return c
}

// settingsOf returns the server's settings. Names of files are below the directory of its configuration.
func settingsOf(n engine.Node, chosen tuned) map[string]any {
	settings := map[string]any{
		"cluster.name": string(n.Instance), "node.name": nodeName,
		"path.data": filepath.Join(n.DataDir, storeDir), "path.logs": filepath.Join(n.RunDir, front.LogDir),
		"path.repo": []string{filepath.Join(n.DataDir, snapshotDir)},

		// Of two that were bound to the same port one would end: the operating system knows which are free.
		"network.host": "127.0.0.1", "http.port": 0, "transport.port": 0, "node.portsfile": true,
		"discovery.type": "single-node",

		// Whether a disk is full, the keeper sees, by the instance's volume.
		"cluster.routing.allocation.disk.threshold_enabled": false,
		"cluster.max_shards_per_node":                       shards(n.Size),

		"compatibility.override_main_response_version": true, // to clients of Elasticsearch it is 7.10

		"plugins.security.authcz.admin_dn":                        []string{"CN=" + operator},
		"plugins.security.nodes_dn":                               []string{"CN=" + nodeName},
		"plugins.security.allow_default_init_securityindex":       true,
		"plugins.security.filter_securityindex_from_all_requests": true, // who asks for all asks for theirs
		"plugins.security.system_indices.enabled":                 true,
		"plugins.security.ssl_cert_reload_enabled":                false,
		"plugins.security.ssl.http.enabled":                       true,
		"plugins.security.ssl.http.clientauth_mode":               "REQUIRE", // the operator and the front have one
		"plugins.security.ssl.http.pemtrustedcas_filepath":        knownFile,
		"plugins.security.ssl.transport.pemtrustedcas_filepath":   authorityFile,
	}
	for _, layer := range []string{"http", "transport"} {
		settings["plugins.security.ssl."+layer+".pemcert_filepath"] = front.LeafFile
		settings["plugins.security.ssl."+layer+".pemkey_filepath"] = front.KeyFile
	}
	maps.Copy(settings, chosen.static)
	return settings
}

// shards is how many the heap bears.
func shards(s backstay.Size) int { return int(min(max(heap(s)/(2*backstay.MB), 50), 1000)) }

// heap is half of the plan's memory: the other half is for what the operating system keeps of files.
func heap(s backstay.Size) backstay.Bytes { return max(s.Memory/2, 128*backstay.MB) }

// javaOptions are the arguments of the Java machine, in the file that it reads them from. They are those with which
// OpenSearch starts itself, without what writes files.
func javaOptions(n engine.Node) (string, error) {
	sized := []string{"-XX:+UseG1GC"}
	if heap(n.Size) < 512*backstay.MB {
		// They need less beside the heap, and the simpler compiler half of the processor's time until there is service.
		sized = []string{"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"}
	}
	megabytes := strconv.FormatInt(int64(heap(n.Size)/backstay.MB), 10) + "m"
	options := append(sized,
		"-Xms"+megabytes, "-Xmx"+megabytes, "-XX:MaxDirectMemorySize="+megabytes,
		"-Xss1m", "-Xshare:auto", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError", "-XX:-OmitStackTraceInFastThrow",
		"-XX:ErrorFile=/dev/stderr",
		"-Djava.security.manager=allow", "-Djava.locale.providers=SPI,COMPAT", "-Djava.awt.headless=true",
		"-Djava.io.tmpdir="+filepath.Join(n.RunDir, "tmp"), "-Duser.home="+filepath.Join(n.RunDir, "tmp"),
		"-Dfile.encoding=UTF-8", "-Djna.nosys=true",
		"-Djava.util.concurrent.ForkJoinPool.common.threadFactory="+
			"org.opensearch.secure_sm.SecuredForkJoinWorkerThreadFactory",
		"-Dio.netty.noUnsafe=true", "-Dio.netty.noKeySetOptimization=true",
		"-Dio.netty.recycler.maxCapacityPerThread=0", "-Dio.netty.allocator.numDirectArenas=0",
		"-Dlog4j.shutdownHookEnabled=false", "-Dlog4j2.disable.jmx=true", "-Dlog4j2.formatMsgNoLookups=true",
		"-Dopensearch.networkaddress.cache.ttl=60", "-Dopensearch.networkaddress.cache.negative.ttl=10",
		"-Dopensearch.path.home="+n.Installation.Dir,
		"-Dopensearch.path.conf="+filepath.Join(n.RunDir, front.ConfigDir),
		"-Dopensearch.distribution.type=zip", "-Dopensearch.bundled_jdk=false",
		"-cp", filepath.Join(n.Installation.Dir, "lib", "*"), "org.opensearch.bootstrap.OpenSearch")
	var b strings.Builder
	for _, option := range options {
		if strings.ContainsFunc(option, func(r rune) bool { return r < ' ' }) {
			return "", fmt.Errorf("control character in option %q", option)
		}
		b.WriteString(`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(option) + "\"\n")
	}
	return b.String(), nil
}

// firstSecurity is what the security plugin begins with: nobody has any right, and logs in by a password. Roles are
// made by Configure, users by bindings.
var firstSecurity = func() map[string]string {
	files := map[string]string{"config.yml": securityOf("config", map[string]any{
		"config": map[string]any{"dynamic": map[string]any{
			"http": map[string]any{"anonymous_auth_enabled": false},
			// Whoever asks for all indices is answered of those that are theirs.
			"do_not_fail_on_forbidden": true, "do_not_fail_on_forbidden_empty": true,
			"authc": map[string]any{"passwords": map[string]any{
				"http_enabled": true, "order": 0,
				"http_authenticator":     map[string]any{"type": "basic", "challenge": true},
				"authentication_backend": map[string]any{"type": "intern"},
			}},
		}},
	})}
	for file, kind := range map[string]string{
		"roles": "roles", "roles_mapping": "rolesmapping", "internal_users": "internalusers",
		"action_groups": "actiongroups", "tenants": "tenants", "nodes_dn": "nodesdn",
	} {
		files[file+".yml"] = securityOf(kind, nil)
	}
	return files
}()

// securityOf writes a file of the security plugin's.
func securityOf(kind string, content map[string]any) string {
	all := map[string]any{"_meta": map[string]any{"type": kind, "config_version": 2}}
	maps.Copy(all, content)
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		panic(err) // what is written is in this file
	}
	return string(text) + "\n"
}
