import Type, { type Static } from "typebox";
import { Below, Check, Entry, FactProbe, VersionProbe } from "./fact.js";
import { Sha256, Version } from "./ids.js";
import { marked } from "./since.js";

const Millis = Type.Integer({ minimum: 0, maximum: 172_800_000 });
const Path = Type.String({ pattern: "^/", maxLength: 4096 });
const Name = Type.String({ pattern: "^[A-Za-z0-9@_.:-]{1,256}$" });
/** Ten years: beyond that, say nothing about age. */
const MAX_AGE_MS = 3650 * 24 * 3_600_000;
const closed = { additionalProperties: false } as const;

/**
 * The closed list of what an agent can do. An op carries all it needs; what it may touch is limited by the host's own
 * agent.yaml (services, directories, commands). Every op is safe to repeat: the agent answers a repeated step from its
 * journal, and an op that finds its effect already there says `done, changed: false`.
 */

/** Looks, changes nothing. Result: HostFacts. */
export const FactsOp = Type.Object({ kind: Type.Literal("facts"), probe: FactProbe }, closed);

/** Goes through journal and wire and does nothing: for benchmarks and for trying a connection out. */
export const NoopOp = Type.Object({ kind: Type.Literal("noop") }, closed);

/**
 * Downloads an artifact from belayd (resuming where it was cut), checks size and SHA-256 while it streams, unpacks it
 * into `<versionsDir>/<version>` with no path or link leaving it, writes a manifest with the digest of every file, and
 * makes it visible only when whole. Already there and intact: `changed: false`. Touches nothing that runs.
 */
export const FetchOp = Type.Object(
  {
    kind: Type.Literal("fetch"),
    version: Version,
    /** Path on belayd, below its base address: `/v1/artifacts/<sha256>`. */
    source: Type.String({ pattern: "^/v1/artifacts/[0-9a-f]{64}$" }),
    sha256: Sha256,
    size: Type.Integer({ minimum: 1 }),
    versionsDir: Path,
    /** Leading path components to drop while unpacking (`teleport/` is one). */
    strip: Type.Integer({ minimum: 0, maximum: 4 }),
    maxUnpackedBytes: Type.Integer({ minimum: 1 }),
    /** Bytes that download and unpacked files are expected to take together: looked for before the first byte. */
    roomBytes: Type.Optional(Type.Integer({ minimum: 1, since: 2, spare: true })),
    /** The folder inside the version's own that it is unpacked into; absent: the version's folder itself. */
    below: Type.Optional(marked(Below, { since: 2, default: "" })),
  },
  closed,
);

/**
 * One thing to keep. `optional`: its absence is not an error. `sqlite` is copied online and consistently, never with cp.
 * `backend` names a state backend of the host's agent.yaml (etcd, PostgreSQL, or the owner's own programs): where it is
 * and by which secrets it is reached never travels. `command` names an entry of the host's agent.yaml that writes the
 * backup to the path given as its last argument.
 */
export const BackupItem = Type.Union([
  Type.Object({ kind: Type.Literal("file"), path: Path, optional: Type.Boolean() }, closed),
  Type.Object({ kind: Type.Literal("sqlite"), path: Path, optional: Type.Boolean() }, closed),
  Type.Object({ kind: Type.Literal("backend"), backend: Name }, { ...closed, since: 2 }),
  Type.Object({ kind: Type.Literal("command"), command: Name, restore: Name }, closed),
]);
export type BackupItem = Static<typeof BackupItem>;

/**
 * Is this host as the plan assumed, and has it room? Fails with `drift` (not retryable) when `expect` or `definition` doesn't hold,
 * `disk-full` when a path lacks bytes or inodes, `unhealthy` when a check fails. Result: HostFacts.
 */
export const PreflightOp = Type.Object(
  {
    kind: Type.Literal("preflight"),
    probe: FactProbe,
    /** Installed version that the plan assumed; null: any. */
    expect: Type.Union([Version, Type.Null()]),
    /** How the service was defined when the plan was made (HostFacts); absent: the plan knows nothing of it. */
    definition: Type.Optional(marked(Sha256, { since: 2, spare: true })),
    needs: Type.Array(
      Type.Object(
        {
          path: Path,
          bytes: Type.Number({ minimum: 0 }),
          inodes: Type.Integer({ minimum: 0 }),
          /** What will be copied to `path`: the agent measures it and adds that. */
          copies: Type.Optional(Type.Array(BackupItem, { maxItems: 64, since: 2, spare: true })),
        },
        closed,
      ),
      { maxItems: 16 },
    ),
    /** False for hosts whose service may rightly be down (shrunk auth, a rollback out of trouble). */
    healthy: Type.Boolean(),
  },
  closed,
);

/** A public key that age encrypts to: its own, or an SSH key. */
const AgeRecipient = Type.String({ pattern: "^(age1[0-9a-z]{10,200}|ssh-(ed25519|rsa) [A-Za-z0-9+/=]{16,2000})$" });

/** How long copies are kept where they are kept. Advice to whoever holds them: the agent deletes none. */
export const BackupKeep = Type.Object(
  {
    count: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000 })),
    maxAgeMs: Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_AGE_MS })),
  },
  { ...closed, since: 2, spare: true },
);
export type BackupKeep = Static<typeof BackupKeep>;

/** That a backup leaves its host. With recipients it leaves encrypted to them, else as it is. */
export const BackupCopySpec = Type.Object(
  { to: Type.Literal("belayd"), recipients: Type.Array(AgeRecipient, { maxItems: 16 }) },
  { ...closed, since: 2 },
);
export type BackupCopySpec = Static<typeof BackupCopySpec>;

/**
 * A backup: where it goes and what it holds. The folder `<dir>/<id>` appears only when whole: a manifest (item, source
 * path, size, SHA-256, owner, mode) beside the items.
 */
export const BackupSpec = Type.Object(
  {
    id: Name,
    dir: Path,
    items: Type.Array(BackupItem, { maxItems: 64 }),
    version: Type.Union([Version, Type.Null()]),
    copy: Type.Optional(BackupCopySpec),
    keep: Type.Optional(BackupKeep),
  },
  closed,
);
export type BackupSpec = Static<typeof BackupSpec>;

/**
 * Makes a backup while the service runs; with `copy`, also sends it away and reads that back (I4). Result: BackupResult. A
 * whole backup of this id already there: `changed: false`.
 */
export const BackupOp = Type.Object(
  {
    kind: Type.Literal("backup"),
    spec: BackupSpec,
    /** For the host's own hooks; absent: none is run. An older agent has none. */
    hooks: Type.Optional(Type.Object({ service: Name, timeoutMs: Millis }, { ...closed, since: 2, spare: true })),
  },
  closed,
);

/** One archive of a backup's folder, as belayd holds it: what it must be when it comes back. */
export const StoredCopy = Type.Object(
  { sha256: Sha256, bytes: Type.Integer({ minimum: 1 }), encrypted: Type.Boolean() },
  { ...closed, since: 2 },
);
export type StoredCopy = Static<typeof StoredCopy>;

/**
 * Reads a backup back: every digest, and the integrity of every database (I4). With `copy`, reads that back instead, from
 * belayd, and leaves what is on the host alone. With `orCopy`, a backup that the host no longer has, or that is damaged there,
 * is brought back from belayd and read before it takes its place: a restore then finds it. Result: BackupResult.
 */
export const VerifyBackupOp = Type.Object(
  {
    kind: Type.Literal("verify-backup"),
    id: Name,
    dir: Path,
    copy: Type.Optional(StoredCopy),
    orCopy: Type.Optional(StoredCopy),
  },
  closed,
);

export const BackupResult = Type.Object(
  {
    backup: Name,
    /** SHA-256 of the manifest: names the whole content. */
    sha256: Sha256,
    bytes: Type.Number({ minimum: 0 }),
    items: Type.Integer({ minimum: 0 }),
    /** Milliseconds since the epoch, the host's clock. */
    takenAt: Type.Integer(),
    version: Type.Union([Version, Type.Null()]),
    verified: Type.Boolean(),
    /** Copies that left the host and were read back from where they are. */
    copies: Type.Optional(
      Type.Array(
        Type.Object(
          {
            to: Type.Literal("belayd"),
            sha256: Sha256,
            bytes: Type.Integer({ minimum: 1 }),
            encrypted: Type.Boolean(),
          },
          closed,
        ),
        { maxItems: 4, since: 2, spare: true },
      ),
    ),
  },
  closed,
);
export type BackupResult = Static<typeof BackupResult>;

/**
 * One local transaction: check the precondition (`from` is what the link leads to, and the `definition`; else `drift`), check the target
 * directory against its manifest, [stop, take and verify the cold `snapshot`], switch the link atomically, reload,
 * restart or start, and watch the service settle. What doesn't settle is undone by the agent alone, even if the
 * controller is gone: link back, snapshot restored if the new version ever ran, service running again (or left stopped
 * with `revertTo: stopped`, for an auth whose backend has moved on without it). Outcomes: done {SwapResult}, reverted, failed; the
 * latter two have the snapshot that was taken, as a BackupResult, in their error's context. Fails with `snapshot-held`, nothing
 * touched, where another step has taken one of that name and could not undo itself.
 */
export const SwapOp = Type.Object(
  {
    kind: Type.Literal("swap"),
    service: Name,
    versionsDir: Path,
    link: Path,
    /**
     * Names that lead through `link`. On a host where they don't yet, the swap adopts them first: plain files become a
     * version's folder and links; when that swap is undone they are put back as they were. An older agent swaps where
     * they lead through `link` already, and finds drift or goes back elsewhere.
     */
    entry: Type.Optional(marked(Entry, { since: 2, spare: true })),
    from: Version,
    to: Version,
    /** Digest of the artifact that `<versionsDir>/<to>` must have been unpacked from; null: the one that is there (going back). */
    sha256: Type.Union([Sha256, Type.Null()]),
    /** As in a preflight. A service that somebody has redefined since could come up as neither version knows it. */
    definition: Type.Optional(marked(Sha256, { since: 2, spare: true })),
    how: Type.Union([Type.Literal("reload"), Type.Literal("restart"), Type.Literal("start")]),
    version: Type.Array(VersionProbe, { maxItems: 8 }),
    checks: Type.Array(Check, { maxItems: 32 }),
    /** How long the service must stay the same process, unrestarted and healthy, to count as settled (I8). */
    settleMs: Millis,
    /** How long it may take to become healthy at all (migrations included) before settling starts. */
    startTimeoutMs: Millis,
    stopTimeoutMs: Millis,
    snapshot: Type.Union([BackupSpec, Type.Null()]),
    revertTo: Type.Union([Type.Literal("running"), Type.Literal("stopped")]),
    /** How long each of the host's own hooks may take; absent: none is run. An older agent has none. */
    hookTimeoutMs: Type.Optional(marked(Millis, { since: 2, spare: true })),
  },
  closed,
);
export type SwapOp = Static<typeof SwapOp>;

/** One executable of a host's own hook, and what it said. */
export const HookRun = Type.Object(
  {
    hook: Type.String({ maxLength: 300 }),
    /** Null: a signal ended it. */
    exit: Type.Union([Type.Integer(), Type.Null()]),
    output: Type.String(),
  },
  closed,
);
export type HookRun = Static<typeof HookRun>;

export const SwapResult = Type.Object(
  {
    from: Version,
    to: Version,
    /** What the process itself says (I8). */
    running: Version,
    /** From the first touch of the service to the first moment it was healthy again, milliseconds. */
    downMs: Type.Number({ minimum: 0 }),
    snapshot: Type.Union([BackupResult, Type.Null()]),
    hooks: Type.Optional(Type.Array(HookRun)),
  },
  closed,
);
export type SwapResult = Static<typeof SwapResult>;

/** Stops a service. Stopped already: `changed: false`. */
export const StopOp = Type.Object({ kind: Type.Literal("stop"), service: Name, timeoutMs: Millis }, closed);

/** Starts a service and watches it settle as a swap does. Running and healthy already: `changed: false`. */
export const StartOp = Type.Object(
  {
    kind: Type.Literal("start"),
    service: Name,
    checks: Type.Array(Check, { maxItems: 32 }),
    settleMs: Millis,
    timeoutMs: Millis,
  },
  closed,
);

/** Waits until the service is healthy and, if `expect` is given, itself reports that version. Result: HostFacts. */
export const HealthOp = Type.Object(
  {
    kind: Type.Literal("health"),
    probe: FactProbe,
    expect: Type.Union([Version, Type.Null()]),
    settleMs: Millis,
    timeoutMs: Millis,
  },
  closed,
);

/**
 * Puts a verified backup back in place. The service must be stopped, else `service-running`. With `copy`, a backup that
 * the host no longer has, or that is damaged there, is brought back from belayd first.
 */
export const RestoreOp = Type.Object(
  { kind: Type.Literal("restore"), id: Name, dir: Path, service: Name, copy: Type.Optional(StoredCopy) },
  closed,
);

/**
 * Removes version directories that are neither linked (by `link`, or by `previous` beside it), running nor in `keep`, and all but
 * the newest backups: what is beyond `keepBackups`, or older than `maxBackupAgeMs`, goes, but never the newest one that reads back
 * whole, and none of `neededBackups`. Result: PruneResult.
 */
export const PruneOp = Type.Object(
  {
    kind: Type.Literal("prune"),
    versionsDir: Path,
    link: Path,
    keep: Type.Array(Version, { maxItems: 64 }),
    backupsDir: Path,
    keepBackups: Type.Integer({ minimum: 1 }),
    /** An older agent keeps more. */
    maxBackupAgeMs: Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_AGE_MS, since: 2, spare: true })),
    /** Stay, whatever their number and age. An older agent goes by number alone, so `keepBackups` is never below theirs. */
    neededBackups: Type.Optional(Type.Array(Name, { maxItems: 128, since: 2, spare: true })),
  },
  closed,
);

/** The names of what was removed. */
export const PruneResult = Type.Object(
  { versions: Type.Array(Type.String()), backups: Type.Array(Type.String()) },
  closed,
);
export type PruneResult = Static<typeof PruneResult>;

/**
 * The agent's own upgrade, as one local transaction: `from` is what the link leads to and what runs (else `drift`), the
 * target's folder is checked against its manifest. The old version stays ready to take over again before the link is
 * switched; then this process ends, and whoever supervises the agent starts the new one. The new one itself ends the step:
 * done {AgentUpgradeResult} when it has been welcomed and stayed connected for `settleMs` (I8). Where that hasn't happened
 * `returnMs` after the switch, or it ends by itself, the old version returns, whatever became of the new one: reverted.
 */
export const UpgradeAgentOp = Type.Object(
  {
    kind: Type.Literal("upgrade-agent"),
    versionsDir: Path,
    link: Path,
    from: Version,
    to: Version,
    /** Digest of the artifact that `<versionsDir>/<to>` must have been unpacked from; null: the one that is there (going back). */
    sha256: Type.Union([Sha256, Type.Null()]),
    settleMs: Millis,
    returnMs: Type.Integer({ minimum: 5_000, maximum: 45_000 }),
  },
  { ...closed, since: 2 },
);
export type UpgradeAgentOp = Static<typeof UpgradeAgentOp>;

/** What the new version says of itself. */
export const AgentUpgradeResult = Type.Object({ from: Version, to: Version, running: Version }, closed);
export type AgentUpgradeResult = Static<typeof AgentUpgradeResult>;

export const Op = Type.Union([
  FactsOp,
  NoopOp,
  PreflightOp,
  FetchOp,
  BackupOp,
  VerifyBackupOp,
  SwapOp,
  StopOp,
  StartOp,
  HealthOp,
  RestoreOp,
  PruneOp,
  UpgradeAgentOp,
]);
export type Op = Static<typeof Op>;
export type OpKind = Op["kind"];
/** The op of one kind: `OpOf<"swap">`. */
export type OpOf<K extends OpKind> = Extract<Op, { kind: K }>;
