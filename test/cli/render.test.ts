process.env.TZ = "UTC";

import { gateLines, gateListing } from "@belay/controller/cli/render/gate";
import { hostLines, hostListing } from "@belay/controller/cli/render/host";
import { recapLines } from "@belay/controller/cli/render/recap";
import { runLines, runListing } from "@belay/controller/cli/render/run";
import { PLAIN } from "@belay/controller/cli/render/style";
import { waitLines } from "@belay/controller/cli/render/wait";
import t, { type Test } from "tap";
import { endedRun, evidence, failureGate, gate, gatedRun, host, RUN, recap, START, workingRun } from "./samples.js";

const page = { now: START + 90_000, columns: 100, style: PLAIN };

function same(t: Test, lines: readonly string[], text: string): void {
  t.equal(lines.join("\n"), text.replace(/^\n|\n$/g, "").replaceAll("%RUN", RUN));
}

t.test("a gate shows all that people decide by, and how to answer", async (t) => {
  same(
    t,
    gateLines(gate(), page),
    `
gate hop-1.main.auth  of run %RUN, open since 20:15:20 (1m10s)
            POINT OF NO RETURN: from behind this gate, going back needs a restore.
until       2026-11-24 20:15:20 (23h58m left), then it stays open, overdue
approvals   0 of 2 from sre; not from olga, who started the run
done        hop-1.main.fetch   4 hosts  12s
            hop-1.main.backup  1 host   3s
versions    auth  5.4.2    1 host
            node  unknown  1 host
health      all hosts of the cluster are healthy
failures    none
backups     auth-1  12.3 MiB  verified  sha256 9f2c41d2e0aa  5 items  20:15:13  hop-1.main
next        hop-1.main.auth  auth-1
going back  belay run rollback %RUN --scope hop: every auth is stopped, its
            backend restored, and 5.4.2 started again
and loses   everything written to the backend of main since that backup
approve     belay gate approve %RUN hop-1.main.auth --reason "..."
reject      belay gate reject %RUN hop-1.main.auth --reason "..."
`,
  );
});

t.test("a gate tells who approved, and that one more is needed", async (t) => {
  const decisions = [{ decision: "approve", by: "ann", reason: "looks good", at: START + 60_000 }];
  const lines = gateLines(gate({ decisions, evidence: null, pointOfNoReturn: false }), page);
  same(
    t,
    lines,
    `
gate hop-1.main.auth  of run %RUN, open since 20:15:20 (1m10s)
until       2026-11-24 20:15:20 (23h58m left), then it stays open, overdue
approvals   1 of 2 from sre; 1 more needed; not from olga, who started the run
decided     20:16:00 approve by ann: looks good
approve     belay gate approve %RUN hop-1.main.auth --reason "..."
reject      belay gate reject %RUN hop-1.main.auth --reason "..."
`,
  );
});

t.test("a gate that is not open offers no answer", async (t) => {
  const passed = gate({ status: "passed", evidence: null, pointOfNoReturn: false, group: null });
  same(
    t,
    gateLines(passed, page),
    `
gate hop-1.main.auth  of run %RUN, passed
approvals   0 of 2; passed because nobody answered in time
`,
  );
  const later = gate({ status: "not-open", openedAt: null, expiresAt: null, evidence: null, pointOfNoReturn: false });
  same(t, gateLines(later, page), "gate hop-1.main.auth  of run %RUN, not open yet\napprovals   0 of 2 from sre");
});

t.test("a gate past its time that holds says so", async (t) => {
  const lines = gateLines(gate({ overdue: true, expiresAt: START + 80_000 }), page);
  t.ok(lines.includes("overdue     since 20:16:20"));
});

t.test("a failure gate shows its cause and the four ways on", async (t) => {
  same(
    t,
    gateLines(failureGate({ evidence: null }), page),
    `
gate hop-1.main.node.failure-1  of run %RUN, open since 20:15:20 (1m10s)
cause       2 of at most 1 hosts failed in batch 2 (budget-spent)
hint        Look at the hosts.
answer      belay run retry %RUN --reason "..."                   try the failed hosts again
            belay run skip %RUN --reason "..."                    set them aside (quarantine) and go on
            belay run rollback %RUN --scope stage --reason "..."  go back (stage, hop or run)
            belay run abort %RUN --reason "..."                   stop here
`,
  );
});

t.test("evidence names a few and counts the rest", async (t) => {
  const many = Array.from({ length: 12 }, (_, index) => ({ host: `node-${index}`, ailments: ["/readyz answers 503"] }));
  const lines = gateLines(gate({ evidence: evidence({ unhealthy: many }) }), page);
  t.ok(lines.includes("health      node-0: /readyz answers 503"));
  t.ok(lines.includes("            node-9: /readyz answers 503"));
  t.notOk(lines.includes("            node-10: /readyz answers 503"));
  t.ok(lines.includes("            and 2 more"));
});

t.test("of what was done, the newest stages", async (t) => {
  const done = Array.from({ length: 30 }, (_, index) => ({ stage: `stage-${index}`, hosts: 1, failed: 0, ms: 1000 }));
  const lines = gateLines(gate({ evidence: evidence({ done }) }), page);
  t.ok(lines.includes("done        20 stages before these"));
  t.notOk(lines.some((line) => line.includes("stage-19 ")));
  t.ok(lines.includes("            stage-29  1 host  1s"));
});

t.test("a backup that nobody read back is not called verified", async (t) => {
  const [backup] = evidence().backups;
  if (backup === undefined) throw new Error("the sample has a backup");
  const lines = gateLines(gate({ evidence: evidence({ backups: [{ ...backup, verified: false }] }) }), page);
  t.ok(lines.some((line) => line.startsWith("backups") && line.includes("NOT VERIFIED")));
});

t.test("gates as a list", async (t) => {
  same(
    t,
    gateListing([gate(), failureGate()], page.now),
    `
RUN                     GATE                       KIND     STATUS  APPROVALS  OPEN SINCE
%RUN  hop-1.main.auth            auth     open    0/2        20:15:20 (1m10s)
%RUN  hop-1.main.node.failure-1  failure  open    -          20:15:20 (1m10s)
`,
  );
  t.same(gateListing([], page.now), ["no gate is open"]);
});

t.test("a run at work", async (t) => {
  same(
    t,
    runLines(workingRun({ quarantined: [{ host: "node-9", reason: "no power" }] }), page),
    `
run %RUN to 7.1.0  running  1m30s, about 3m50s left (20:20:20)

hop-1
  ✓ main  fetch   4 hosts                   12s
  ✓ main  backup  1 host                    3s
  ✓ main  auth    1 host                    9s
  ▶ main  node    batch 2/2  ████████░░░░  2/3, 1 at work, 1 failed  30s
hop-2  2 stages, 1 cluster to come

at work     node-3  swap  10s  settling, 4 s left
failed      20:16:15 node-2 in hop-1.main.node: /readyz answers 503 after 5 s (not-settled)
set aside   node-9 (no power)
`,
  );
});

t.test("a run at a gate", async (t) => {
  same(
    t,
    runLines(gatedRun({ gate: null }), page),
    `
run %RUN to 7.1.0  waiting  1m30s, about 3m50s left (20:20:20)

hop-1
  ✓ main  fetch   4 hosts                   12s
  ✓ main  backup  1 host                    3s
  ◆ main  auth    gate open, 1 host behind it
  · main  node    3 hosts
hop-2  2 stages, 1 cluster to come
`,
  );
});

t.test("a paused run says why it waits", async (t) => {
  const waits = [
    {
      code: "paused" as const,
      message: "paused by ann: lunch",
      since: START + 30_000,
      unblock: `belay run resume ${RUN}`,
    },
  ];
  const lines = runLines(workingRun({ status: "paused", waits }), page);
  t.same(lines.slice(-3), [
    "waits for   paused by ann: lunch",
    "since       20:15:30 (1m00s)",
    `unblock     belay run resume ${RUN}`,
  ]);
});

t.test("runs as a list", async (t) => {
  same(
    t,
    runListing([endedRun("aborted"), gatedRun()], page.now, PLAIN),
    `
RUN                     WHAT     TO     PLAN          STATUS   STARTED              TOOK   BY
%RUN  upgrade  7.1.0  3f9c41d2e0aa  aborted  2026-11-23 20:15:00  2m10s  olga
%RUN  upgrade  7.1.0  3f9c41d2e0aa  waiting  2026-11-23 20:15:00  1m30s  olga
`,
  );
});

t.test("what a run waits for", async (t) => {
  same(
    t,
    waitLines(
      [
        {
          code: "hosts-offline",
          message: "2 hosts are not connected: node-1, node-2",
          since: START + 30_000,
          unblock: "bring the host's belay-agent back",
          hosts: ["node-1", "node-2"],
          until: START + 630_000,
        },
      ],
      page,
    ),
    `
waits for   2 hosts are not connected: node-1, node-2
since       20:15:30 (1m00s), until 20:25:30
hosts       node-1, node-2
unblock     bring the host's belay-agent back
`,
  );
});

t.test("the recap, in Ansible's words", async (t) => {
  same(
    t,
    recapLines(recap([{}, { host: "auth-1", failed: 1, runs: null }, { would: ["swap 5.4.2 -> 6.2.31"] }]), PLAIN),
    `
RECAP of run %RUN
node-1 : ok=3 changed=2 unreachable=0 failed=0 skipped=0   runs 7.1.0
auth-1 : ok=3 changed=2 unreachable=0 failed=1 skipped=0
node-3 : ok=3 changed=2 unreachable=0 failed=0 skipped=0   runs 7.1.0
    would swap 5.4.2 -> 6.2.31
`,
  );
});

t.test("hosts as a list, and one by itself", async (t) => {
  const away = host({
    host: "db-7",
    present: false,
    lastSeenAt: START - 3_600_000,
    facts: null,
    quarantine: { by: "ann", reason: "no power", at: START },
  });
  same(
    t,
    hostListing([host(), away], page.now, PLAIN),
    `
HOST    CLUSTER  ROLES       AGENT       RUNS   INSTALLED  HEALTH   REMARKS
auth-1  main     auth,proxy  connected   5.4.2  5.4.2      healthy
db-7    main     auth,proxy  away 1h01m  -      -          -        set aside: no power
`,
  );
  same(
    t,
    hostLines(host(), page),
    `
auth-1  auth, proxy of main
agent       connected
runs        5.4.2
installed   5.4.2  (kept: 5.4.2, 5.4.1)
service     teleport running, pid 4711
health      healthy
platform    linux amd64 oss
disks       /var/lib/teleport  9.3 GiB free
clock       as ours
seen        20:15:30
`,
  );
});
