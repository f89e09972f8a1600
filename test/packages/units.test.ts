import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import t from "tap";

const PACKAGING = fileURLToPath(new URL("../../packaging/", import.meta.url));
/** systemd's own measure of what a service could do to its host: 0 nothing, 10 everything. */
const LIMITS = {
  "belay-agent/belay-agent.service": 2.5,
  "belay-agent/belay-agent-rescue.service": 2.5,
  "belay/belayd.service": 2.0,
};
const missing = spawnSync("systemd-analyze", ["--version"]).error !== undefined;
const skip = missing && "there is no systemd-analyze here (Debian's package systemd)";

t.test("the units stay within the exposure that was promised", { skip }, async (t) => {
  for (const [unit, limit] of Object.entries(LIMITS)) {
    const { stdout } = spawnSync(
      "systemd-analyze",
      ["security", "--offline=yes", "--no-pager", `${PACKAGING}${unit}`],
      {
        encoding: "utf8",
      },
    );
    const exposure = Number(/Overall exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1] ?? Number.NaN);
    t.ok(exposure <= limit, `${unit}: ${exposure}`);
  }
});
