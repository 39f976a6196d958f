package e2e

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/backstay/backstay/internal/testkit"
)

// What one of many organizations has: a manager, who is also developer in all of its ten spaces, each with an
// app and ten instances, which have a key each; the first is bound to the app. The first organization is the
// one that a user made, the others are recorded as it is.
const (
	manyUsers = `INSERT INTO uaa.users (id, username, folded_name, global_role, password_hash, password_version)
		SELECT 'user-' || n, 'user-' || n, 'user-' || n, '', admin.password_hash, admin.password_version
		FROM uaa.users admin, generate_series($1::integer, $2) n WHERE admin.username = 'admin'`
	manyOrganizations = `INSERT INTO market.organizations (id, name) SELECT 'org-' || n, 'org-' || n FROM generate_series($1::integer, $2) n`
	manySpaces        = `INSERT INTO market.spaces (id, organization_id, name)
		SELECT 'space-' || n || '-' || s, 'org-' || n, 'space-' || s FROM generate_series($1::integer, $2) n, generate_series(1, 10) s`
	manyMemberships = `INSERT INTO market.roles (id, type, user_id, organization_id)
		SELECT gen_random_uuid()::text, 'organization_manager', 'user-' || n, 'org-' || n FROM generate_series($1::integer, $2) n`
	manyRoles = `INSERT INTO market.roles (id, type, user_id, space_id)
		SELECT gen_random_uuid()::text, 'space_developer', 'user-' || n, 'space-' || n || '-' || s FROM generate_series($1::integer, $2) n, generate_series(1, 10) s`
	manyApps = `INSERT INTO market.apps (id, space_id, name)
		SELECT 'app-' || n || '-' || s, 'space-' || n || '-' || s, 'app' FROM generate_series($1::integer, $2) n, generate_series(1, 10) s`
	manyInstances = `INSERT INTO market.instances (id, space_id, plan_id, name, tags, op_type, op_state, op_description)
		SELECT 'instance-' || n || '-' || s || '-' || i, 'space-' || n || '-' || s, plan.id, 'instance-' || i, '{}', 'create', 'succeeded', 'create succeeded'
		FROM (SELECT id FROM market.plans WHERE name = 'Free' LIMIT 1) plan, generate_series($1::integer, $2) n, generate_series(1, 10) s, generate_series(1, 10) i`
	manyKeys = `INSERT INTO market.bindings (id, type, name, instance_id, op_type, op_state, op_description)
		SELECT gen_random_uuid()::text, 'key', 'key', 'instance-' || n || '-' || s || '-' || i, 'create', 'succeeded', 'create succeeded'
		FROM generate_series($1::integer, $2) n, generate_series(1, 10) s, generate_series(1, 10) i`
	manyBindings = `INSERT INTO market.bindings (id, type, name, instance_id, app_id, op_type, op_state, op_description)
		SELECT gen_random_uuid()::text, 'app', '', 'instance-' || n || '-' || s || '-1', 'app-' || n || '-' || s, 'create', 'succeeded', 'create succeeded'
		FROM generate_series($1::integer, $2) n, generate_series(1, 10) s`
)

// record adds the organizations from first to last.
func record(b *testing.B, state *pgx.Conn, first, last int) {
	b.Helper()
	for _, sql := range []string{manyUsers, manyOrganizations, manySpaces, manyMemberships, manyRoles, manyApps, manyInstances, manyKeys, manyBindings} {
		if _, err := state.Exec(b.Context(), sql, first, last); err != nil {
			b.Fatal(err)
		}
	}
	// What the server does by itself within minutes, and long before so many are made one by one.
	for _, sql := range []string{"VACUUM ANALYZE", "CHECKPOINT"} {
		if _, err := state.Exec(b.Context(), sql); err != nil {
			b.Fatal(err)
		}
	}
}

// What the cf command asks for, in the first organization.
var (
	cfOrgs     = []string{"/v3/organizations?order_by=name"}
	cfServices = []string{
		"/v3/service_instances?space_guids=space-1-1&order_by=name&per_page=5000&fields[service_plan]=guid,name,relationships.service_offering" +
			"&fields[service_plan.service_offering]=guid,name,relationships.service_broker&fields[service_plan.service_offering.service_broker]=guid,name",
		"/v3/service_credential_bindings?include=app&service_instance_guids=instance-1-1-1,instance-1-1-2,instance-1-1-3,instance-1-1-4," +
			"instance-1-1-5,instance-1-1-6,instance-1-1-7,instance-1-1-8,instance-1-1-9,instance-1-1-10",
	}
	cfService = []string{
		"/v3/service_instances?names=instance-1&space_guids=space-1-1&fields[service_plan]=name,guid&fields[service_plan.service_offering]=name,guid,description,documentation_url" +
			"&fields[service_plan.service_offering.service_broker]=name,guid&fields[space]=name,guid&fields[space.organization]=name,guid",
		"/v3/feature_flags/service_instance_sharing",
		"/v3/service_instances/instance-1-1-1/relationships/shared_spaces?fields[space]=guid,name,relationships.organization&fields[space.organization]=guid,name",
		"/v3/service_credential_bindings?include=app&service_instance_guids=instance-1-1-1&type=app",
	}
)

// BenchmarkManyOrganizations is what the cf command waits for when 1,000 organizations of 10 spaces of 10
// instances are recorded, beside one such organization: for somebody who has roles in one, and for the
// administrator where the answer is the same. Both are asked in turn, so that what else the machine does
// weighs on both.
func BenchmarkManyOrganizations(b *testing.B) {
	few, many := house(b, postgresBreed), house(b, postgresBreed)
	record(b, few.state(b), 1, 1)
	record(b, many.state(b), 1, 1000)
	for _, c := range []struct {
		name  string
		who   string
		asks  []string
		total int // of what the first request lists
	}{
		{"cf-orgs", "user-1", cfOrgs, 1},
		{"cf-services", "user-1", cfServices, 10},
		{"cf-service", "user-1", cfService, 1},
		{"cf-services-by-admin", "", cfServices, 10},
		{"cf-service-by-admin", "", cfService, 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			of := [2]*platform{few.as(c.who), many.as(c.who)}
			var took [2][]time.Duration
			for round := range 300 {
				for i, p := range of {
					if t := p.took(b, c.asks, c.total); round >= 50 { // by then all is read and planned
						took[i] = append(took[i], t)
					}
				}
			}
			report(b, median(took[1]), median(took[0]), 1.5)
		})
	}
}

// as is the platform for somebody who has the administrator's password.
func (l *life) as(username string) *platform {
	return &platform{t: l.t, url: l.url, password: l.password, username: username, client: client}
}

// took is how long these requests take, one after the other.
func (p *platform) took(b *testing.B, asks []string, total int) time.Duration {
	b.Helper()
	begun := time.Now()
	for i, ask := range asks {
		var page struct {
			Pagination struct {
				Total int `json:"total_results"`
			}
		}
		if _, _, err := p.call("GET", ask, nil, &page); err != nil {
			b.Fatal(err)
		}
		if i == 0 && page.Pagination.Total != total {
			b.Fatalf("%s lists %d, want %d", ask, page.Pagination.Total, total)
		}
	}
	return time.Since(begun)
}

// BenchmarkColdStart is from the start of serve, when all was stopped, to the API's first answer where 100 Redis
// instances come up as well, beside where one does. It may take half as long again. When all of them listen is said too.
func BenchmarkColdStart(b *testing.B) {
	const count = 100
	first, last := testkit.Ports(b, count)
	few, many := house(b, redisBreed), house(b, redisBreed, "--ports", fmt.Sprintf("%d-%d", first, last))
	few.resident("alone").create()
	many.createAtOnce(count, "one-of-many")
	many.stop()
	many.pause = 200 * time.Millisecond // who looks all the time takes the processors from those that come up
	var alone, ours, all []time.Duration
	for range max(b.N, 7) {
		few.stop()
		begun := time.Now()
		few.mustServe()
		alone = append(alone, time.Since(begun))
		begun = time.Now()
		many.mustServe()
		ours = append(ours, time.Since(begun))
		many.insist(func() error {
			if listening(first, last) < count {
				return errAgain
			}
			return nil
		})
		all = append(all, time.Since(begun))
		many.stop() // so that nothing of it comes up beside the next one
	}
	b.ReportMetric(milliseconds(median(all)), "all-ms")
	report(b, median(ours), median(alone), 1.5)
}

// listening counts the ports from first to last on which something takes connections.
func listening(first, last int) (count int) {
	for port := first; port <= last; port++ {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			conn.Close()
			count++
		}
	}
	return count
}
