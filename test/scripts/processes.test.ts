import { spawn } from "node:child_process";
import { once } from "node:events";
import t from "tap";
import { descendants, end } from "../../scripts/processes.mjs";

t.test("what has outlived its parent is found by its mark, and ended", async (t) => {
  const mark = `BELAY_MARK_OF_A_TEST=${process.pid}`;
  const [name = "", value] = mark.split("=");
  // Says that it is there, and goes on for a minute if nobody ends it.
  const orphaned = `setsid sh -c 'echo $$; for n in $(seq 60); do sleep 1; done 2>&-' &`;
  const parent = spawn("sh", ["-c", orphaned], {
    env: { ...process.env, [name]: value },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(parent, "exit");
  const [said] = await once(parent.stdout, "data");
  await exited;
  parent.stdout.destroy();
  const orphan = Number(said);
  const isFound = (by: string) => descendants(by).some(({ pid }) => pid === orphan);
  t.notOk(isFound("BELAY_MARK_OF_A_TEST=another"));
  t.ok(isFound(mark));
  await end(descendants(mark), 5_000);
  t.notOk(isFound(mark), "it has ended");
});
