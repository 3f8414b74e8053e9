// Package integration looks at the house from outside: the built binaries, real Podman, real disks, signals. Its
// sub-folders are the demo, the benchmarks, the trials by crash and by power cut, what these share, and kubectl, which
// is a module of its own.
//
// The project began as a list of what an earlier agent, one without a log, did to its users. Each line of that list that
// concerns one host has a test:
//
//	 1  exits with its documented flags         TestFailure_A1_flags; cmd/podman-swarm-agent: TestConfig_everyMistakeAtOnce
//	 2  a nil panics 30 s after every start     TestFailure_A2_A26_input; events, events/manifest: the fuzz targets
//	 3  a power cut loses what was acknowledged TestPowercut_short, task powercut; events: TestOpen_tornBatches, TestOpen_reachesTheDisk
//	 4  starts empty over damage                TestAgent_damagedLog, TestFailure_A4_A23_stateFile; events: TestOpen_everyBitOfAClosedLog
//	 5  200 without durability                  TestAgent_fullDisk, TestLog_eioOnEachCall; projection: TestRecord_failedAppendChangesNothing
//	 6  kill -9: "name already in use"          TestFailure_A6_A7_A12_A31_restarts, TestCrash_short, task crash
//	 7  exited containers stay so               TestFailure_A6_A7_A12_A31_restarts
//	 8  "recovers" what is applied meanwhile    TestFailure_A8_A11_apply
//	11  applied again: 500                      TestFailure_A8_A11_apply
//	12  pending for ever, listed when deleted   TestFailure_A6_A7_A12_A31_restarts
//	20  deadlocks and races                     TestFailure_A20_race; every test runs with the race detector
//	21  two agents on one data dir              TestAgent_secondOnTheFolder; events: TestOpen_secondOpenerOfAnotherProcess
//	23  version is never read, null panics      TestFailure_A4_A23_stateFile; events: TestOpen_newerFormat
//	24  DELETE has no kind                      TestFailure_A24_A25_wholeAndByKind; cmd/internal/api: TestManifests_deleteNeedsAKind
//	25  part of a manifest applied              TestFailure_A24_A25_wholeAndByKind, TestCrash_short; cmd/internal/api: TestManifests_nobodySeesAPart
//	26  --- splits values, fields are dropped   TestFailure_A2_A26_input; events/manifest: TestParse_bad
//	30  the cost of an apply grows              TestFailure_A30_bytesPerApply; task bench
//	31  SIGTERM saves nothing                   TestFailure_A6_A7_A12_A31_restarts
package integration
