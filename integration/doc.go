// Package integration looks at the house from outside: the built binaries, real Podman, real disks, signals. Its
// sub-folders are the demo, the benchmarks, the trials by crash and by power cut, what these share, what people put into Prometheus
// and Grafana (monitoring), and kubectl, which is a module of its own.
//
// The project began as a list of what an earlier agent, one without a log, did to its users. Each line of that list that
// concerns what there is so far has a test, or several; those that concern hosts among each other are tried with whole agents that speak mutual TLS, and
// where containers matter with a real Podman on each of three hosts, beside the model of sync and its stories
// (sync: TestModel, TestStories, testdata/*.txt), and the stories of what runs where and what moves it (podman: the same). cmd is cmd/podman-swarm-agent:
//
//	 1  exits with its documented flags         TestFailure_A1_flags; cmd/podman-swarm-agent: TestConfig_everyMistakeAtOnce
//	 2  a nil panics 30 s after every start     TestFailure_A2_A26_input; events, events/manifest: the fuzz targets
//	 3  a power cut loses what was acknowledged TestPowercut_short, task powercut; events: TestOpen_tornBatches
//	 4  starts empty over damage                TestAgent_damagedLog, cmd: TestRestore_nothingIsBegunOverDamage; TestFailure_A4_A23_stateFile; events: TestOpen_everyBitOfAClosedLog
//	 5  200 without durability                  TestAgent_fullDisk, TestLog_eioOnEachCall; projection: TestRecord_failedAppendChangesNothing
//	 6  kill -9: "name already in use"          TestFailure_A6_A7_A12_A31_restarts, TestCrash_short, task crash
//	 7  exited containers stay so               TestFailure_A6_A7_A12_A31_restarts
//	 8  "recovers" what is applied meanwhile    TestFailure_A8_A11_apply
//	 9  replicas that nobody creates            TestFailures_onThreeHosts/A9_A19_everywhere; projection/placement
//	10  another number after restart and split  TestFailures_onThreeHosts/A10_restarts, A10_B12_split, task split
//	11  applied again: 500                      TestFailure_A8_A11_apply
//	12  pending for ever, listed when deleted   TestFailure_A6_A7_A12_A31_restarts
//	13  one timestamp for the whole state   cmd: TestFailures_inACluster/A13_B11_split; sync: newest-per-object.txt
//	14  what was deleted comes back             TestFailures_onThreeHosts/A14_deletedWhileAway; cmd: TestAgent_cluster; sync: away-during-a-delete.txt
//	15  idle nodes rewrite everything       cmd: TestFailures_inACluster/A15_idle; task bench
//	16  a fast clock reverts every peer         cmd: TestFailures_inACluster/A16_clock; sync: fast-clock.txt
//	17  who returns rolls the cluster back      cmd: TestAgent_cluster; sync: returning-host.txt
//	18  a documented restore is undone          cmd: TestRestore_copiedOverStateJSON, TestFailures_inACluster/A18_restore; TestDrill_short, task drill
//	19  peers' objects reach a file only        TestFailures_onThreeHosts/A9_A19_everywhere
//	20  deadlocks and races                     TestFailure_A20_race; every test runs with the race detector
//	21  two agents on one data dir              TestAgent_secondOnTheFolder; events: TestOpen_secondOpenerOfAnotherProcess
//	22  backups collide, come late, and pile up snapshot: TestBackups_names, TestBackups_schedule, TestKeep_plan, TestPrune_…; cmd: TestBackup_atTheStartAndOnDemand; TestCrash_restores
//	23  version is never read, null panics      TestFailure_A4_A23_stateFile; events: TestOpen_newerFormat; snapshot: TestReadVersion1…
//	24  DELETE has no kind                      TestFailure_A24_A25_wholeAndByKind; cmd/internal/api: TestManifests_deleteNeedsAKind
//	25  part of a manifest applied              TestFailure_A24_A25_wholeAndByKind, TestCrash_short; cmd/internal/api: TestManifests_nobodySeesAPart
//	26  --- splits values, fields are dropped   TestFailure_A2_A26_input; events/manifest: TestParse_bad
//	27  sync fails above 39 Deployments         cmd: TestFailures_inACluster/A27_size; sync: big-message.txt
//	28  endpoints expire after 30 s             TestFailures_onThreeHosts/A28_B4_B12_services; cmd/internal: api: TestFailure_A28_endpointsFollowThePods, ingress: TestFailure_A28_B4_theFirstRequestIsAnswered
//	29  any token joins, or none                cmd: TestAgent_clusterRefuses; TestFailures_onThreeHosts/ports; sync/authority; of the key: cmd: TestKeyring
//	30  the cost of an apply grows              TestFailure_A30_bytesPerApply; task bench
//	31  SIGTERM saves nothing                   TestFailure_A6_A7_A12_A31_restarts; cmd: TestAgent_cluster
//
// And of the list of what users of this field complain of:
//
//	 1  a full disk or power cut ends the node TestAgent_fullDisk, TestPowercut_short, task powercut; events: TestOpen_tornBatches
//	 2  nothing can be managed without a quorum cmd: TestFailures_inACluster/B2_lostMajority; sync: even-split.txt
//	 3  an upgrade of the agent bounces all      TestUnit_systemd, TestFailure_A6_A7_A12_A31_restarts, TestCrash_short
//	 4  after a reboot containers stay down      podman: TestRecovery_afterReboot; TestFailures_onThreeHosts/A28_B4_B12_services; projection/discovery: TestFailure_B4_whatRanBeforeABootIsNotThere;
//	                                            cmd/internal/ingress: TestFailure_A28_B4_theFirstRequestIsAnswered
//	 5  a ghost has the name of what is to start podman: TestReal_ghost, TestReal_story
//	 6  a restore is an outage, or wipes data  cmd: TestFailures_inACluster/A18_restore; TestDrill_short, task drill; TestCrash_restores
//	 7  the backup turns out unusable        cmd: TestDrill_damageIsSaid; snapshot: TestDrill_…; psctl backup verify
//	 8  there are no scheduled backups           snapshot: TestBackups_schedule; cmd: TestBackup_atTheStartAndOnDemand
//	 9  retention deletes what a restore needs   snapshot: TestKeep_plan, TestIncrements_prune…, TestTrimmer_…
//	10  an acknowledged write vanishes          cmd: TestFailures_inACluster/B10_lostDisk; sync: lost-disk.txt; task split
//	11  of two edits one is dropped in silence  cmd: TestFailures_inACluster/A13_B11_split; sync: two-updates-at-once.txt; cmd/internal/api: TestConflicts_…;
//	                                            cmd/psctl: testdata/conflicts.txtar; cmd: TestClashed_whoLostTells
//	12  after a partition the view lies         TestFailures_onThreeHosts/A10_B12_split, A28_B4_B12_services; cmd/internal/ingress: TestFailure_B12_whatCannotBeReachedIsPassedOver; task split
//	13  nobody can say who changed it        cmd/psctl: testdata/time.txtar, history.txtar, swarm.txtar; cmd/internal/api: TestUndo_…, TestEvents_…; cmd: TestAudit_…
//	14  nobody sees what an apply will do       cmd/psctl: testdata/apply.txtar, time.txtar
//	15  a key against an unattended reboot   cmd: TestEncryptState
//
// A log that somebody has touched: TestAudit_short, task audit; events: TestVerify_…, TestAsks_…; sync: TestClaim_…; cmd/internal/api: TestAudit_whatWasTouched;
// cmd: TestAgent_diskThatWasPutBackIsNoticed; cmd/psctl: testdata/audit.txtar.
//
// Who follows the log, and is told each event once, whatever ends meanwhile: TestFollow_short, task follow; cmd/internal/tail: TestHub_noWakeUpIsLost; cmd: TestAudit_….
//
// Each alert fires when what it tells of happens, and clears when it is over: TestAlarms_short (one of them), task alarms (all); integration/alarms: TestCauses_eachAlertHasOne.
//
// Agents of adjacent versions: sync: TestFormat1_askedAsThen, TestFormat1_heardAsThen.
package integration
