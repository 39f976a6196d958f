package enginetest

import (
	"context"
	"os"
	"testing"

	"github.com/backstay/backstay"
	"github.com/backstay/backstay/engine"
	"github.com/backstay/backstay/internal/testkit"
)

// Subject is an engine, with what only its own package knows of it.
type Subject struct {
	Engine engine.Engine
	// Connect opens a session as an app does: with nothing but credentials.
	Connect func(context.Context, backstay.Credentials) (Session, error)
	// BadSettings are settings that this engine must refuse.
	BadSettings []string
	// ResizeRestarts says that a node needs a restart to get another size.
	ResizeRestarts bool
	// Versions returns the engine with the installations of two versions. It is nil where two are not to be had, and
	// skips the test where they are missing.
	Versions func(testing.TB) engine.Engine
	// Worst is what users may do to be in the way of the administrator.
	Worst Worst
	// Refusing is of an engine.Refuser.
	Refusing Refusing
	// Asynchronous says of an engine.Replicator that a client may be told that a value is kept before the node has it
	// that is awaited, and nobody waits for that. What was told a moment before the primary was killed may be lost
	// then.
	Asynchronous bool
	// Spin has the server compute and write for many seconds for one session, so that a process of the server outlives
	// the first one. It is nil where nothing does.
	Spin func(context.Context, Session) error
	// Large says that the engine takes so long for all cases that each run draws some.
	Large bool

	cache string
}

// Session is one client's connection. A value is committed when Set returns. All users share the keys.
type Session interface {
	Set(ctx context.Context, key, value string) error
	Get(ctx context.Context, key string) (string, error)
	Close() error
}

// Run tests that the subject keeps the contract of engine.Engine and of each capability that it has. A top-level test
// must call it before anything else: the test is run again in processes that are killed.
func Run(t *testing.T, s Subject) {
	if os.Getenv(victim) != "" {
		s.beVictim()
	}
	s.cache = testkit.MemoryDir(t)
	cases := contract
	if s.Large {
		cases = testkit.Drawn(t, cases)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, s)
		})
	}
}

// contract are the cases of Run.
var contract = []struct {
	name string
	test func(*testing.T, Subject)
}{
	{"Installations", testInstallations},
	{"InstallationsArePackaged", testPackaged},
	{"CopyServes", testCopy},
	{"PrepareTwiceKeepsData", testPrepareTwice},
	{"PrepareSurvivesKill", testPrepareKilled},
	{"FirstPrepareSurvivesKill", testFirstPrepareKilled},
	{"PrepareRefusesBadSettings", testBadSettings},
	{"PrepareNamesMissingInstallation", testMissingInstallation},
	{"CheckChangesNothing", testCheck},
	{"CheckOfARunningNode", testCheckRunning},
	{"WarmTwiceAtOnce", testWarm},
	{"ProbeTellsWhetherItServes", testProbe},
	{"ProcessesRunTheirPrograms", testPrograms},
	{"CompanionsAreNamed", testCompanions},
	{"StopIsQuickWithClients", testStop},
	{"LostDataIsNotMadeAnew", testUsed},
	{"KillLosesNothingCommitted", testKill},
	{"ExplainSaysWhyItEnded", testExplain},
	{"FullIsAdministered", testFull},
	{"WorstIsAdministered", testWorst},
	{"SilenceIsToldInWords", testSilence},
	{"FullDiskIsToldInWords", testFullDisk},
	{"EndedOnAFullDisk", testEndedOnAFullDisk},
	{"AdministeredFromElsewhere", testFarAdmin},
	{"ReloadKeepsSessions", testReload},
	{"ReloadOfANodeThatMoves", testReloadMoves},
	{"ReloadThatIsRefused", testReloadRefused},
	{"SettleDisturbsNobody", testSettle},
	{"SettingsAreTaken", testTuning},
	{"RotateKeepsSessions", testRotate},
	{"Users", testUsers},
	{"ReadOnlySeesWhatIsMadeAfterIt", testReadOnlyFirst},
	{"AllAtOnce", testAllAtOnce},
	{"RefusesWrites", testRefuse},
	{"RefusesFromTheStart", testRefusedFromTheStart},
	{"RefusesABulkWriter", testRefuseBulk},
	{"RefusesAgainAndAgain", testRefuseAgainAndAgain},
	{"Upgraded", testUpgraded},
	{"UpgradeSurvivesKill", testUpgradeKilled},
	{"UpgradeIsRefused", testUpgradeRefused},
	{"BackupIsRestored", testBackup},
	{"BackupWhileClientsWrite", testBackupWhileWriting},
	{"BackupsExpire", testExpire},
	{"BackupsShowNoSecret", testSecretsOfBackups},
	{"MomentsAreRestored", testMoments},
	{"EndIsArchived", testEndIsArchived},
	{"DamageIsFound", testDamage},
	{"LossIsFound", testLoss},
	{"LostEndIsFound", testLostEnd},
	{"RepositoryAway", testRepositoryAway},
	{"BackupSurvivesKill", testBackupKilled},
	{"CloneIsACopy", testClone},
	{"CloneSurvivesKill", testCloneKilled},
	{"FailoverLosesNothing", testFailover},
	{"PromotedBesideTheSilent", testPromotedBesideTheSilent},
	{"HandOverLosesNothing", testHandOver},
	{"HandOverThenKilled", testHandOverKilled},
	{"BothKilled", testBothKilled},
	{"StandbyGone", testStandbyGone},
	{"StandbyHangs", testStandbyHangs},
	{"UsersFollow", testUsersFollow},
	{"UsersOfAStandby", testUsersOfAStandby},
	{"CatchUpWaits", testCatchUpWaits},
	{"SpareCountsForNothing", testSpare},
	{"OrphansEnd", testOrphan},
	{"CopyOfThePrimarySurvivesKill", testCopyKilled},
	{"RejoinSurvivesKill", testRejoinKilled},
	{"RejoinSurvivesKillAtEachStep", testRejoinKilledAtSteps},
	{"FollowsNothing", testNeverCopied},
	{"RefusesWhileClientsWait", testRefuseWaiting},
	{"ArchiveGoesOnAfterFailover", testArchiveGoesOn},
	{"LossBehindFailoverIsFound", testLossBehindFailover},
	{"DrillWritesApart", testDrill},
	{"DrillFollows", testDrillFollows},
	{"DrillIsNotRestored", testDrillIsNotRestored},
}
