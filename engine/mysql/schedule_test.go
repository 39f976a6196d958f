package mysql

import (
	"maps"
	"testing"
)

func TestScheduleFollowsStatements(t *testing.T) {
	for name, c := range map[string]struct {
		statements []string
		want       schedule
	}{
		"made":           {[]string{"CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1"}, schedule{"e": false}},
		"made, off":      {[]string{"CREATE EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1"}, schedule{"e": true}},
		"by a definer":   {[]string{"CREATE DEFINER=`u`@`%` EVENT `main`.`E ``x` ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1"}, schedule{"e `x": true}},
		"what it does":   {[]string{"create event e on schedule every 1 day do alter table t disable keys"}, schedule{"e": false}},
		"a comment":      {[]string{"/* x */ CREATE EVENT e ON SCHEDULE EVERY 1 DAY COMMENT 'it''s DISABLE' -- DISABLE\n DO SELECT 1"}, schedule{"e": false}},
		"run comment":    {[]string{"CREATE EVENT e ON SCHEDULE EVERY 1 DAY /*!50106 DISABLE */ DO SELECT 1"}, schedule{"e": true}},
		"switched on":    {[]string{"CREATE EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1", "ALTER EVENT main.e ENABLE"}, schedule{"e": false}},
		"switched off":   {[]string{"CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1", "ALTER EVENT e DISABLE"}, schedule{"e": true}},
		"stays off":      {[]string{"ALTER EVENT e DISABLE", "ALTER EVENT e COMMENT 'ENABLE'"}, schedule{"e": true}},
		"another name":   {[]string{"ALTER EVENT e DISABLE", "ALTER EVENT e RENAME TO main.f"}, schedule{"f": true}},
		"made again":     {[]string{"ALTER EVENT e DISABLE", "CREATE EVENT IF NOT EXISTS e ON SCHEDULE EVERY 1 DAY DO SELECT 1"}, schedule{"e": true}},
		"replaced":       {[]string{"ALTER EVENT e DISABLE", "CREATE OR REPLACE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1"}, schedule{"e": false}},
		"dropped":        {[]string{"ALTER EVENT e DISABLE", "DROP EVENT IF EXISTS e"}, schedule{}},
		"something else": {[]string{"CREATE TABLE event (disable int)", "INSERT INTO event VALUES (1)", ""}, schedule{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := schedule{}
			for _, s := range c.statements {
				got.follow(s)
			}
			if !maps.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// Whatever the statement is, it is read to its end.
func FuzzSchedule(f *testing.F) {
	f.Add("CREATE EVENT `e` ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1")
	f.Add("ALTER EVENT a.b RENAME TO")
	f.Fuzz(func(_ *testing.T, statement string) { schedule{}.follow(statement) })
}
