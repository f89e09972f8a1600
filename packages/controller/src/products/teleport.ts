import type { OpTemplate, Profile } from "./profile.js";

/**
 * Teleport, as data: where things lie on a host, what a healthy one looks like, and what each stage asks of it. Every
 * variable can be set in fleet.yaml for the fleet, a cluster or a host; they may name one another.
 */

const probes = [
  { kind: "metric-label", url: "{diag}/metrics", metric: "teleport_build_info", label: "version" },
  { kind: "process-exe" },
];

/** Healthy whatever the version. Auth that still migrates its backend is not done (I8). */
const alive = [
  { kind: "process" },
  { kind: "http", url: "{diag}/readyz", status: 200, timeoutMs: 5000 },
  { only: "auth", kind: "metric", url: "{diag}/metrics", metric: "teleport_migrations", equals: 0, timeoutMs: 5000 },
];
const aliveProxy = { only: "proxy", kind: "http", url: "{proxy}/webapi/ping", status: 200, timeoutMs: 5000 };
/** The proxy itself must say the version it was moved to. */
const servesTo = { ...aliveProxy, json: { pointer: "/server_version", equals: "{to}" } };

/** Names in one folder lead through the one link; where `binDir` is empty the service is started through the link itself. */
const entry = { given: "binDir", dir: "{binDir}", programs: ["teleport", "tctl", "tsh", "tbot"], below: "{below}" };

const probe = {
  service: "{service}",
  versionsDir: "{versionsDir}",
  link: "{link}",
  entry,
  version: probes,
  checks: [...alive, aliveProxy],
  disks: ["{versionsDir}", "{data}", "{backups}"],
  // `Teleport Enterprise v17.4.2 git:... go1.23.6 X:boringcrypto`
  banner: {
    program: "{link}/{below}/teleport",
    editions: [{ says: "Teleport Enterprise", edition: "ent" }],
    fips: "boringcrypto",
  },
};

/** What would be missed: the state backend, who this host is, and how it is set up. */
const items = [
  { only: "auth", given: "backendName", kind: "backend", backend: "{backendName}" },
  {
    only: "auth",
    given: "backendBackup",
    absent: "backendName",
    kind: "command",
    command: "{backendBackup}",
    restore: "{backendRestore}",
  },
  { only: "auth", absent: ["backendName", "backendBackup"], kind: "sqlite", path: "{backend}", optional: false },
  { kind: "file", path: "{config}", optional: false },
  { kind: "file", path: "{data}/host_uuid", optional: true },
  { kind: "sqlite", path: "{data}/proc/sqlite.db", optional: false },
  { kind: "file", path: "{unit}", optional: true },
  { kind: "file", path: "{environment}", optional: true },
  { only: "auth", kind: "file", path: "{license}", optional: true },
  { kind: "file", path: "{tlsKey}", optional: true },
  { kind: "file", path: "{tlsCert}", optional: true },
];

/** A snapshot that is taken while the service stands still does not leave the host: nobody waits for a network then. */
const backupOf = (id: string) => ({ id, dir: "{backups}", items, version: "{from}" });

const swap = (more: object): OpTemplate => ({
  kind: "swap",
  service: "{service}",
  versionsDir: "{versionsDir}",
  link: "{link}",
  entry,
  from: "{from}",
  to: "{to}",
  sha256: "{sha256}",
  definition: "{definition}",
  how: "restart",
  version: probes,
  checks: [...alive, servesTo],
  settleMs: "{settleMs}",
  startTimeoutMs: "{startTimeoutMs}",
  stopTimeoutMs: "{stopTimeoutMs}",
  snapshot: null,
  revertTo: "running",
  hookTimeoutMs: "{hookTimeoutMs}",
  ...more,
});

const swapAuth = (more: object) => swap({ startTimeoutMs: "{authStartTimeoutMs}", ...more });
/** Going back: the version directory that is still there, whatever it was unpacked from. */
const swapBack = (more: object) => swap({ sha256: null, ...more });

const health: OpTemplate = {
  kind: "health",
  probe,
  expect: "{to}",
  settleMs: "{settleMs}",
  timeoutMs: "{startTimeoutMs}",
};

/** What is copied is measured on the host itself; the manifest and a database's growth meanwhile come on top. */
const BACKUP_MARGIN_BYTES = 16 * 1024 * 1024;
const backupRoom = { path: "{backups}", bytes: BACKUP_MARGIN_BYTES, inodes: 100, copies: items };

const preflight: OpTemplate = {
  kind: "preflight",
  probe,
  expect: "{from}",
  definition: "{definition}",
  needs: [{ path: "{versionsDir}", bytes: "{fetchBytes}", inodes: 1000 }, backupRoom],
  healthy: true,
};

const backUp: OpTemplate[] = [
  {
    kind: "backup",
    spec: { ...backupOf("{backup}"), copy: "{copyTo}" },
    hooks: { service: "{service}", timeoutMs: "{hookTimeoutMs}" },
  },
  { kind: "verify-backup", id: "{backup}", dir: "{backups}" },
];

/**
 * What is there now, kept aside while every auth of the cluster stands still: it stays on its host, and no hook is run, since
 * most of them ask the service something.
 */
const keepAside: OpTemplate[] = [
  { kind: "backup", spec: backupOf("{backup}") },
  { kind: "verify-backup", id: "{backup}", dir: "{backups}" },
];

const start: OpTemplate = {
  kind: "start",
  service: "{service}",
  checks: [...alive, aliveProxy],
  settleMs: "{settleMs}",
  timeoutMs: "{authStartTimeoutMs}",
};

const startServing: OpTemplate = { ...start, timeoutMs: "{startTimeoutMs}" };
const stop: OpTemplate = { kind: "stop", service: "{service}", timeoutMs: "{stopTimeoutMs}" };

/** From the host's own backup, or from its copy where that is gone. */
const restore: OpTemplate = {
  kind: "restore",
  id: "{restore}",
  dir: "{backups}",
  service: "{service}",
  copy: "{restoreCopy}",
};

export const teleport: Profile = {
  product: "teleport",
  vars: {
    install: "/opt/belay/teleport",
    versionsDir: "{install}/versions",
    link: "{install}/current",
    // Where programs are started by name, and where in a version's folder they lie.
    binDir: "/usr/local/bin",
    below: "",
    service: "teleport",
    unit: "/etc/systemd/system/{service}.service",
    environment: "/etc/default/{service}",
    config: "/etc/teleport.yaml",
    data: "/var/lib/teleport",
    backend: "{data}/backend/sqlite.db",
    // A backend that is no local SQLite: its name in the host's own agent.yaml ...
    backendName: "",
    // ... or the names of two commands there.
    backendBackup: "",
    backendRestore: "",
    license: "{data}/license.pem",
    tlsKey: "{data}/privkey.pem",
    tlsCert: "{data}/fullchain.pem",
    diag: "http://127.0.0.1:3000",
    proxy: "https://127.0.0.1:3080",
    backups: "/var/lib/belay-agent/backups",
    startTimeout: "5m",
    // Auth migrates its backend before it is ready.
    authStartTimeout: "20m",
    stopTimeout: "1m",
    hookTimeout: "5m",
  },
  probe: { auth: probe, proxy: probe, node: probe },
  managed: { path: "/webapi/ping", pointer: "/server_version" },
  unpackedPerPacked: 5,
  programs: {
    preflight: [preflight],
    fetch: [
      {
        kind: "fetch",
        version: "{to}",
        source: "{source}",
        sha256: "{sha256}",
        size: "{size}",
        versionsDir: "{versionsDir}",
        strip: 1,
        maxUnpackedBytes: "{maxUnpackedBytes}",
        below: "{below}",
        roomBytes: "{fetchBytes}",
      },
    ],
    backup: backUp,
    stop: [stop],

    // Crossing a major alone. A reload would let two majors share the backend while the old process drains; the cold
    // snapshot lets the agent undo a failed migration with nothing lost.
    "auth-first": [swapAuth({ snapshot: backupOf("{snapshot}") })],
    // Its backend has moved on without it, so a failed one stays down.
    "auth-rest": [swapAuth({ how: "start", revertTo: "stopped" })],
    "auth-rolling": [swapAuth({})],
    "auth-minor": [swapAuth({})],
    // A reload keeps sessions alive.
    proxy: [swap({ how: "reload" })],
    node: [swap({ how: "reload" })],

    verify: [health],
    "verify-last": [
      health,
      {
        kind: "prune",
        versionsDir: "{versionsDir}",
        link: "{link}",
        keep: "{keptVersions}",
        backupsDir: "{backups}",
        keepBackups: "{keepBackups}",
        maxBackupAgeMs: "{maxBackupAgeMs}",
        neededBackups: "{neededBackups}",
      },
    ],

    // Out of trouble a host need not be healthy, and nothing is downloaded.
    "back-preflight": [{ ...preflight, needs: [backupRoom], healthy: false }],
    "back-preflight-bare": [{ ...preflight, needs: [], healthy: false }],
    // A version that is left behind may not obey a reload.
    "back-proxy": [swapBack({})],
    "back-node": [swapBack({})],
    "back-auth-minor": [swapBack({ startTimeoutMs: "{authStartTimeoutMs}" })],
    // What was written since the restored backup is lost to Teleport, but kept aside first.
    "back-auth-first": [
      ...keepAside,
      restore,
      swapBack({ how: "start", startTimeoutMs: "{authStartTimeoutMs}", revertTo: "stopped" }),
    ],
    // The one that crossed has its old binary already.
    "back-auth-restore": [...keepAside, restore, start],
    "back-auth-rest": [swapBack({ how: "start", startTimeoutMs: "{authStartTimeoutMs}", revertTo: "stopped" })],
    "back-auth-start": [start],
    "back-verify": [health],

    // Where nothing is left that could be kept aside.
    "restore-auth-first-bare": [
      restore,
      swapBack({ how: "start", startTimeoutMs: "{authStartTimeoutMs}", revertTo: "stopped" }),
    ],
    "restore-auth-bare": [restore, start],

    // Before anything is stopped: whatever is wrong with the backup, or with the key to its copy, shows here (I4).
    "restore-read": [{ kind: "verify-backup", id: "{restore}", dir: "{backups}", orCopy: "{restoreCopy}" }],
    // A backup put back outside of any rollback.
    "restore-serving": [...backUp, stop, restore, startServing],
    "restore-serving-bare": [stop, restore, startServing],
  },
};
