import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { stringify } from "yaml";
import { must } from "../../lab/host/command.js";
import { DIAG } from "../../lab/teleport.js";
import { BIG_FILE, DATABASE, INSTALL, type LabScene, SETTLE_SECONDS, SHOWN, TO } from "./scene.js";
import { cutOverOf, type StageTimes } from "./times.js";

export const FORKS = 20;
const TIMEOUT_MS = 300_000;

/** Null: it isn't installed. */
export function ansibleVersion(): string | null {
  const { status, stdout } = spawnSync("ansible-playbook", ["--version"], { encoding: "utf8" });
  return status === 0 ? (stdout.split("\n")[0] ?? "").trim() : null;
}

/** The same work by Ansible's own modules. */
function playbook({ url, sha256 }: LabScene["artifact"]): string {
  const versions = `${INSTALL}/versions`;
  const ask = (path: string, more: object) => ({ "ansible.builtin.uri": { url: `${DIAG}${path}`, ...more } });
  const tasks = [
    {
      "ansible.builtin.get_url": {
        url,
        dest: `${versions}/.stage.tgz`,
        checksum: `sha256:${sha256}`,
        client_cert: `${SHOWN}/certificate`,
        client_key: `${SHOWN}/key`,
      },
      environment: { SSL_CERT_FILE: `${SHOWN}/ca` },
    },
    { "ansible.builtin.file": { path: `${versions}/${TO}`, state: "directory" } },
    {
      "ansible.builtin.unarchive": {
        src: `${versions}/.stage.tgz`,
        dest: `${versions}/${TO}`,
        remote_src: true,
        extra_opts: ["--strip-components=1"],
      },
    },
    { "ansible.builtin.file": { path: `${versions}/.stage.tgz`, state: "absent" } },
    { "ansible.builtin.file": { path: "/var/backups/stage", state: "directory" } },
    {
      "ansible.builtin.copy": { src: "{{ item }}", dest: "/var/backups/stage/", remote_src: true, mode: "preserve" },
      loop: ["/etc/teleport.yaml", BIG_FILE],
    },
    { "ansible.builtin.command": { argv: ["sqlite3", DATABASE, "VACUUM INTO '/var/backups/stage/sqlite.db'"] } },
    { "ansible.builtin.debug": { msg: "BEGAN {{ lookup('pipe', 'date +%s%3N') }}" } },
    {
      "ansible.builtin.file": { path: `${INSTALL}/current`, src: `${versions}/${TO}`, state: "link", force: true },
    },
    { "ansible.builtin.systemd": { name: "teleport", state: "restarted" } },
    { ...ask("/readyz", {}), register: "readyz", until: "readyz.status == 200", retries: 100, delay: 0.05 },
    {
      ...ask("/metrics", { return_content: true }),
      register: "metrics",
      until: `'version="${TO}"' in metrics.content`,
      retries: 100,
      delay: 0.05,
    },
    { "ansible.builtin.debug": { msg: "ENDED {{ lookup('pipe', 'date +%s%3N') }}" } },
    { "ansible.builtin.pause": { seconds: SETTLE_SECONDS } },
    ask("/readyz", {}),
  ];
  return stringify([{ hosts: "all", gather_facts: false, tasks }], { aliasDuplicateObjects: false });
}

/** One `ansible-playbook` for all. */
export async function byAnsible(scene: LabScene): Promise<StageTimes> {
  const at = (name: string) => join(scene.dir, name);
  const key = join(scene.dir, "key");
  const common = `ansible_user=root ansible_ssh_private_key_file=${key} ansible_python_interpreter=/usr/bin/python3`;
  const hosts = scene.nodes.map(({ name, address }) => `${name} ansible_host=${address} ${common}\n`).join("");
  await writeFile(at("inventory"), hosts);
  await writeFile(at("stage.yml"), playbook(scene.artifact));
  const settings = {
    ANSIBLE_HOME: at("ansible"),
    ANSIBLE_LOCAL_TEMP: at("ansible/local"),
    ANSIBLE_HOST_KEY_CHECKING: "False",
    ANSIBLE_PIPELINING: "True",
    ANSIBLE_NOCOLOR: "1",
    ANSIBLE_SSH_ARGS: "-o ControlMaster=auto -o ControlPersist=60s -o UserKnownHostsFile=/dev/null",
  };
  const given = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
  const argv = ["env", ...given, "ansible-playbook", "-i", at("inventory"), "--forks", `${FORKS}`, at("stage.yml")];
  const begun = performance.now();
  const said = await must(argv, { timeoutMs: TIMEOUT_MS });
  const wholeMs = performance.now() - begun;
  const moments = (word: string) =>
    [...said.matchAll(new RegExp(`${word} (\\d{13})`, "g"))].map(([, ms]) => Number(ms));
  const [began, ended] = [Math.min(...moments("BEGAN")), Math.max(...moments("ENDED"))];
  // Its hosts go in step, task by task: the slowest's time is everybody's.
  return { wholeMs, ...cutOverOf([[began, ended]]) };
}
