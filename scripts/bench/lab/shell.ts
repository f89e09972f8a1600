import { run } from "../../lab/host/command.js";
import type { Machine } from "../../lab/host/machine.js";
import { DIAG } from "../../lab/teleport.js";
import { BIG_FILE, DATABASE, INSTALL, type LabScene, SETTLE_SECONDS, SHOWN, TO } from "./scene.js";
import { cutOverOf, type StageTimes } from "./times.js";

/** Looks that a watching script makes in a second. */
const LOOKS = 5;

const READY = `ready() {
  curl -fsS -m 2 -o /dev/null ${DIAG}/readyz 2>/dev/null &&
    curl -fsS -m 2 ${DIAG}/metrics 2>/dev/null | grep -q "version=\\"$1\\""
}`;

/** What a script does besides, so that a power cut or a bad copy finds it as safe as Belay's own stage. */
const CARE = {
  /** Every file that was unpacked is on the disk, and known by its digest. */
  unpacked: `(cd .stage && find . -type f -exec sha256sum {} + > ../.stage.sums) && find .stage -exec sync {} +
`,
  visible: "sync .\n",
  /** The copies are on the disk, are what they are copies of, and can be read as a database. */
  backedUp: `find /var/backups/stage -exec sync {} +
cmp ${BIG_FILE} /var/backups/stage/${BIG_FILE.split("/").at(-1)}
[ "$(sqlite3 /var/backups/stage/sqlite.db "PRAGMA integrity_check")" = ok ]
(cd ${TO} && sha256sum --check --quiet ../.stage.sums) && rm .stage.sums
`,
  switched: `sync ${INSTALL}\n`,
};

/** What somebody who knows the work writes by hand: the stage on one host, with no second thoughts, or with care. */
function stageScript({ url, sha256 }: LabScene["artifact"], careful: boolean): string {
  const care = (what: keyof typeof CARE) => (careful ? CARE[what] : "");
  return `set -euo pipefail
${READY}
cd ${INSTALL}/versions
curl -fsS --cacert ${SHOWN}/ca --cert ${SHOWN}/certificate --key ${SHOWN}/key -o .stage.tgz ${url}
echo "${sha256}  .stage.tgz" | sha256sum --check --quiet
rm -rf .stage && mkdir .stage
tar -xzf .stage.tgz -C .stage --strip-components=1
${care("unpacked")}mv .stage ${TO} && rm .stage.tgz
${care("visible")}mkdir -p /var/backups/stage
cp -a /etc/teleport.yaml ${BIG_FILE} /var/backups/stage/
sqlite3 ${DATABASE} "VACUUM INTO '/var/backups/stage/sqlite.db'"
${care("backedUp")}began=$(date +%s%3N)
ln -s ${INSTALL}/versions/${TO} ${INSTALL}/current.new
mv -T ${INSTALL}/current.new ${INSTALL}/current
${care("switched")}systemctl restart teleport
until ready ${TO}; do sleep 0.05; done
ended=$(date +%s%3N)
for look in $(seq ${SETTLE_SECONDS * LOOKS}); do sleep ${1 / LOOKS}; ready ${TO}; done
echo "$began $ended"
`;
}

/** The least that a cut-over can be: no link, no look before or after. */
const BARE = `set -euo pipefail
${READY}
began=$(date +%s%3N)
systemctl restart teleport
until ready "$1"; do sleep 0.05; done
echo "$began $(date +%s%3N)"
`;

/** One ssh a host, all at once. `careful`: nothing is left in memory only, or unread, before the next step relies on it. */
export async function byShell(scene: LabScene, { careful = false } = {}): Promise<StageTimes> {
  const begun = performance.now();
  const spans = await onAll(scene, stageScript(scene.artifact, careful), "");
  return { wholeMs: performance.now() - begun, ...cutOverOf(spans) };
}

/** A bare restart of what runs, on all at once. */
export async function byBareRestart(scene: LabScene, version: string): Promise<StageTimes> {
  const begun = performance.now();
  const spans = await onAll(scene, BARE, version);
  return { wholeMs: performance.now() - begun, ...cutOverOf(spans) };
}

function onAll(scene: LabScene, script: string, argument: string): Promise<(readonly [number, number])[]> {
  return Promise.all(scene.nodes.map((node) => onOne(scene, node, script, argument)));
}

async function onOne(scene: LabScene, node: Machine, script: string, argument: string) {
  const argv = ["ssh", ...scene.ssh, `root@${node.address}`, "bash", "-s", "--", argument];
  const { code, stdout, stderr } = await run(argv, { input: script });
  const [began, ended] = stdout.trim().split(" ").map(Number);
  if (code !== 0 || began === undefined || ended === undefined) {
    throw new Error(`the shell script fails on ${node.name} (${code}): ${stderr}${stdout}`);
  }
  return [began, ended] as const;
}
