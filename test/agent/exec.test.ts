import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { systemExec } from "@belay/agent";
import t, { type Test } from "tap";

t.setTimeout(120_000);

/** Far above a moment, far below how long the helpers stay. */
const SOON_MS = 5_000;
const NOT_ROOT = process.getuid?.() === 0 ? false : "only root can become somebody whom it may not end";

/** What a shell runs to leave a process behind, and the id of that process. Ended with the test. */
function helper(t: Test): { inSession: string; inGroup: string; pid: () => number } {
  const dir = mkdtempSync(join(tmpdir(), "belay-exec-"));
  const file = join(dir, "pid");
  const pid = () => Number(readFileSync(file, "utf8"));
  t.teardown(() => {
    if (existsSync(file) && isThere(pid())) process.kill(pid(), "SIGKILL");
    rmSync(dir, { recursive: true });
  });
  const stays = `sh -c 'echo $$ > ${file}; exec sleep 100'`;
  const untilThere = `while [ ! -s ${file} ]; do sleep 0.05; done`;
  return { inSession: `setsid ${stays} & ${untilThere}`, inGroup: `${stays} & ${untilThere}`, pid };
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const sh = (script: string) => ["/bin/sh", "-c", script];

async function soon<T>(t: Test, work: Promise<T>): Promise<T | unknown> {
  const started = performance.now();
  const given = await work.catch((error: unknown) => error);
  const ms = performance.now() - started;
  t.ok(ms < SOON_MS, `took ${Math.round(ms)} ms`);
  return given;
}

async function* pieces(...all: string[]) {
  for (const each of all) yield Buffer.from(each);
}

async function textOf(output: AsyncIterable<Buffer>): Promise<string> {
  let text = "";
  for await (const chunk of output) text += chunk;
  return text;
}

for (const where of ["inSession", "inGroup"] as const) {
  t.test(`a command counts by its exit code, whatever it leaves behind (${where})`, async (t) => {
    for (const code of [0, 3]) {
      const left = helper(t);
      const script = `echo out; echo err >&2; ${left[where]}; exit ${code}`;
      const given = await soon(t, systemExec.run(sh(script), { timeoutMs: 60_000 }));
      t.same(given, { code, signal: null, stdout: "out\n", stderr: "err\n" });
      t.ok(isThere(left.pid()), "and is left alone");
    }
  });
}

t.test("a command that has ended is in time, though its time is up before its outputs are let go", async (t) => {
  const left = helper(t);
  const given = await soon(t, systemExec.run(sh(`${left.inSession}; exit 0`), { timeoutMs: 800 }));
  t.match(given, { code: 0 });
});

t.test("a command is ended when its time is up, though what it started is out of reach", async (t) => {
  const left = helper(t);
  const given = await soon(t, systemExec.run(sh(`${left.inSession}; sleep 100`), { timeoutMs: 700 }));
  t.match(given, { code: "command-timeout", message: "/bin/sh took longer than 700 ms" });
});

t.test("a command is ended by its signal, though what it started is out of reach", async (t) => {
  const left = helper(t);
  const reason = new Error("the agent stops");
  const halting = new AbortController();
  const running = systemExec.run(sh(`${left.inSession}; sleep 100`), { timeoutMs: 60_000, signal: halting.signal });
  setTimeout(() => halting.abort(reason), 500);
  t.equal(await soon(t, running), reason);
});

t.test("a filter whose complaints something holds open has ended well", async (t) => {
  const left = helper(t);
  const filter = systemExec.filter(sh(`cat; { ${left.inSession}; } >&- `), pieces("abc"), { timeoutMs: 60_000 });
  t.equal(await soon(t, textOf(filter)), "abc");
});

t.test("an output that something else holds open is never taken for a whole one", async (t) => {
  for (const [code, message] of [
    [0, /ends with 0: what it started still holds its output/],
    [4, /ends with 4: no good/],
  ] as const) {
    const left = helper(t);
    const script = `cat; ${left.inSession}; echo no good >&2; exit ${code}`;
    const filter = systemExec.filter(sh(script), pieces("abc"), { timeoutMs: 60_000 });
    t.match(await soon(t, textOf(filter)), { code: "command-failed", message });
  }
});

t.test("a filter is ended when its time is up, though what it started is out of reach", async (t) => {
  const left = helper(t);
  const filter = systemExec.filter(sh(`cat; ${left.inSession}; sleep 100`), pieces("abc"), { timeoutMs: 700 });
  t.match(await soon(t, textOf(filter)), { code: "command-timeout" });
});

t.test("whoever reads a filter takes as long as they like, and gets all of it", async (t) => {
  const filter = systemExec.filter(sh("head -c 300000 /dev/zero"), pieces(), { timeoutMs: 60_000 });
  let size = 0;
  for await (const chunk of filter) {
    size += chunk.length;
    // Longer than any grace, with the command gone by the last pieces.
    await sleep(1_500);
  }
  t.equal(size, 300_000);
});

t.test("of a command that the system won't end, that is said", { skip: NOT_ROOT }, async (t) => {
  const asNobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", "sleep", "100"];
  const script = `
    import { systemExec } from "@belay/agent";
    const argv = ${JSON.stringify(asNobody)};
    const output = () => systemExec.filter(argv, (async function* () {})(), { timeoutMs: 500 }).next();
    const halting = AbortSignal.timeout(500);
    const ways = [
      systemExec.run(argv, { timeoutMs: 500 }),
      systemExec.run(argv, { timeoutMs: 60_000, signal: halting }),
      output(),
    ];
    const errors = (await Promise.allSettled(ways)).map(({ reason }) => reason);
    console.log(JSON.stringify(errors));
  `;
  const node = [process.execPath, "--input-type=module", "--eval", script];
  const asked = promisify(execFile)("setpriv", ["--bounding-set=-kill", "--", ...node], { timeout: 30_000 });
  const { stdout } = (await soon(t, asked)) as { stdout: string };
  const errors = JSON.parse(stdout) as { code: string; message: string; context: { pid: number } }[];
  t.equal(errors.length, 3);
  for (const { code, message, context } of errors) {
    t.equal(code, "command-not-ended");
    t.equal(message, `setpriv (process ${context.pid}) can't be ended: EPERM`);
    t.ok(isThere(context.pid));
    process.kill(context.pid, "SIGKILL");
  }
});
