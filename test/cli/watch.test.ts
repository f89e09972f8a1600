import type { ServerResponse } from "node:http";
import type { RunView } from "@belay/controller/api/contract";
import t, { type Test } from "tap";
import { belay, start } from "./belay.js";
import { type Answer, type Asked, FakeBelayd, refuse, stream } from "./belayd.js";
import { endedRun, failureGate, gate, gatedRun, RUN, recap, workingRun } from "./samples.js";

async function belayd(t: Test, routes: Readonly<Record<string, Answer>>): Promise<FakeBelayd> {
  const peer = await FakeBelayd.start(routes);
  t.teardown(() => peer.stop());
  return peer;
}

/** A run that stands at `views[0]` when it is first asked for, and goes through the others in its stream. */
function runOf(views: readonly RunView[], rows: Parameters<typeof recap>[0] = [{}]): Record<string, Answer> {
  return {
    "GET /v1/runs/latest": { ...views[0] },
    [`GET /v1/runs/${RUN}`]: { ...views[0] },
    [`GET /v1/runs/${RUN}/stream`]: stream("view", views.slice(1)),
    [`GET /v1/runs/${RUN}/recap`]: { ...recap(rows) },
  };
}

t.test("a run from its gate to its end, line by line", async (t) => {
  const approved = gatedRun({
    gate: gate({
      decisions: [{ decision: "approve", by: "ann", reason: "go", at: Date.UTC(2026, 10, 23, 20, 15, 30) }],
    }),
  });
  const peer = await belayd(t, runOf([gatedRun(), approved, workingRun(), endedRun()]));
  const { code, out } = await belay(["run", "watch"], peer);
  t.equal(code, 0);
  const lines = out.split("\n");
  t.equal(lines[0], `20:16:30 run ${RUN} to 7.1.0: waiting, 2 of 6 stages done`);
  t.match(lines[2], `gate hop-1.main.auth  of run ${RUN}, open since 20:15:20 (1m10s)`);
  t.match(out, `approve     belay gate approve ${RUN} hop-1.main.auth --reason "..."\n`);
  const after = lines.slice(lines.indexOf("20:15:30 gate hop-1.main.auth: approve by ann: go"));
  t.same(after, [
    "20:15:30 gate hop-1.main.auth: approve by ann: go",
    "20:15:40 gate hop-1.main.auth: closed",
    "20:15:49 stage hop-1.main.auth: done in 9s, 1 ok",
    "20:16:00 stage hop-1.main.node: 3 hosts",
    "20:16:15 FAILED node-2 in hop-1.main.node: /readyz answers 503 after 5 s (not-settled)",
    "20:16:30 stage hop-1.main.node: batch 2 of 2, 2 of 3 hosts done, 1 failed",
    `20:16:30 run ${RUN} is running`,
    "20:16:20 stage hop-1.main.node: done in 20s, 3 ok",
    "20:16:20 stage hop-2.main.auth: done in 20s, 1 ok",
    "20:16:20 stage hop-2.main.node: done in 20s, 3 ok",
    `20:17:10 run ${RUN}: done after 2m10s`,
    "",
    `RECAP of run ${RUN}`,
    "node-1 : ok=3 changed=2 unreachable=0 failed=0 skipped=0   runs 7.1.0",
    "",
  ]);
});

t.test("of two failure gates that come between two looks, the first is closed before the second opens", async (t) => {
  const at = (seconds: number) => Date.UTC(2026, 10, 23, 20, 15, seconds);
  const first = workingRun({ gate: failureGate({ openedAt: at(20) }) });
  const second = workingRun({ gate: failureGate({ gate: "hop-1.main.node.failure-2", openedAt: at(40) }) });
  const peer = await belayd(t, runOf([first, second, endedRun()], [{ failed: 1 }]));
  const { out } = await belay(["run", "watch"], peer);
  const lines = out.split("\n");
  const closed = lines.indexOf("20:15:40 gate hop-1.main.node.failure-1: closed");
  t.not(closed, -1);
  t.match(lines[closed + 2], /^gate hop-1\.main\.node\.failure-2 /);
});

t.test("exit codes say how it went", async (t) => {
  const done = [workingRun(), endedRun()];
  const cases: readonly [string, readonly RunView[], Parameters<typeof recap>[0], number][] = [
    ["done", done, [{}], 0],
    ["done, hosts failed", done, [{}, { failed: 1 }], 2],
    ["done, hosts unreachable", done, [{ unreachable: 1 }], 4],
    ["both: out of reach weighs more", done, [{ failed: 1 }, { unreachable: 1 }], 4],
    ["aborted", [workingRun(), endedRun("aborted")], [{}], 1],
    ["denied", [workingRun(), endedRun("denied")], [{ failed: 1 }], 1],
    ["rolled back", [workingRun(), endedRun("rolled-back")], [{}], 1],
    ["had ended before", [endedRun()], [{}], 0],
    ["at a gate", [workingRun(), gatedRun()], [{}], 3],
    ["at a failure gate", [workingRun(), gatedRun({ gate: failureGate() })], [{ failed: 2 }], 2],
    ["at a failure gate, for hosts out of reach", [gatedRun({ gate: failureGate() })], [{ unreachable: 2 }], 4],
  ];
  for (const [what, views, rows, code] of cases) {
    const peer = await belayd(t, runOf(views, rows));
    t.equal((await belay(["run", "watch", "--exit-at-gate"], peer)).code, code, what);
  }
  const failing = await belayd(t, runOf([gatedRun(), gatedRun({ gate: failureGate() })], [{ failed: 1 }]));
  t.equal((await belay(["run", "watch", "--exit-at-failure"], failing)).code, 2, "not at the gate before");
  const refused = await belayd(t, {
    "GET /v1/runs/nope": (_asked, response) => refuse(response, 404, { code: "run-unknown", message: "no run nope" }),
  });
  t.equal((await belay(["run", "watch", "nope"], refused)).code, 1, "an error");
});

t.test("a gate that has all its approvals is about to pass: nobody is called for it", async (t) => {
  const decisions = ["ann", "bob"].map((by) => ({ decision: "approve", by, reason: "", at: 0 }));
  const peer = await belayd(t, runOf([gatedRun({ gate: gate({ decisions }) }), workingRun(), endedRun()]));
  t.equal((await belay(["run", "watch", "--exit-at-gate"], peer)).code, 0);
});

t.test("belayd goes away and comes back: the watch goes on where it was", async (t) => {
  const peer = await belayd(t, runOf([workingRun(), workingRun()]));
  const shown = workingRun();
  // The first stream stays open until the crash.
  peer.on(`GET /v1/runs/${RUN}/stream`, stream("view", [shown], true));
  const watch = start(["run", "watch"], peer);
  await watch.says("FAILED node-2");
  await peer.stop();
  await watch.says("trying again. The run goes on without us.");
  peer.on(`GET /v1/runs/${RUN}/stream`, stream("view", [shown, endedRun()]));
  await peer.listen();
  const { code, out } = await watch.ended;
  t.equal(code, 0);
  t.match(out, "belayd is back");
  t.equal(out.split("FAILED node-2").length, 2, "what was said is not said again");
});

t.test("Ctrl-C leaves the run going and says so", async (t) => {
  const peer = await belayd(t, runOf([workingRun()]));
  peer.on(`GET /v1/runs/${RUN}/stream`, stream("view", [workingRun()], true));
  const watch = start(["run", "watch"], peer);
  await watch.says("FAILED node-2");
  watch.interrupt();
  const { code, err } = await watch.ended;
  t.equal(code, 130);
  t.equal(err, `Not watching any more. Run ${RUN} goes on; belay run watch ${RUN} follows it again.\n`);
  t.same(
    peer.asked.filter(({ method }) => method !== "GET"),
    [],
    "nothing was asked of the run",
  );
});

t.test("with --json a value a line, the recap at the end", async (t) => {
  const peer = await belayd(t, runOf([workingRun(), endedRun()]));
  const { out } = await belay(["run", "watch", "--json"], peer);
  t.same(
    out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line)),
    [{ view: workingRun() }, { view: endedRun() }, { recap: recap() }],
  );
});

t.test("run start takes the newest plan, and follows it if asked to", async (t) => {
  const plan = "3f9c41d2e0aa".padEnd(64, "0");
  const peer = await belayd(t, {
    ...runOf([workingRun(), endedRun()]),
    "GET /v1/plans": [
      {
        id: plan,
        kind: "upgrade",
        to: "7.1.0",
        hops: 2,
        hosts: 4,
        createdAt: workingRun().startedAt,
        createdBy: "bob",
      },
    ],
    "POST /v1/runs": { ...workingRun() },
  });
  const plain = await belay(["run", "start"], peer);
  t.same(plain, {
    code: 0,
    out: `run ${RUN} started; belay run watch ${RUN} follows it\n`,
    err: "plan 3f9c41d2e0aa to 7.1.0, made by bob 1m30s ago\n",
  });
  const check = await belay(["run", "start", "3f9c", "--check"], peer);
  t.match(check.out, `RECAP of run ${RUN}`);
  t.same(
    peer.askedOf("POST /v1/runs").map(({ body }) => body),
    [
      { plan, check: false },
      { plan: "3f9c", check: true },
    ],
  );
});

t.test("the log is followed without a gap when belayd restarts", async (t) => {
  const line = (seq: number) => ({ seq, at: 0, host: null, stage: null, level: "info", message: `line ${seq}` });
  const tries: string[] = [];
  const peer = await belayd(t, {
    "GET /v1/runs/latest": { ...workingRun() },
    [`GET /v1/runs/${RUN}/log`]: (asked: Asked, response: ServerResponse) => {
      tries.push(asked.path);
      const lines = tries.length === 1 ? [line(1), line(2)] : [line(3)];
      if (tries.length === 2) peer.on(`GET /v1/runs/${RUN}`, { ...endedRun() });
      stream("line", lines)(asked, response);
    },
    [`GET /v1/runs/${RUN}`]: { ...workingRun() },
  });
  const { out, code } = await belay(["log", "--follow"], peer);
  t.equal(code, 0);
  t.equal(out.replaceAll(/^.* (?=line)/gm, ""), "line 1\nline 2\nline 3\n");
  t.same(
    tries.map((path) => path.split("?")[1]),
    ["after=0&follow=1", "after=2&follow=1"],
  );
});
