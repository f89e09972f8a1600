import Type, { type Static } from "typebox";
import { HostName, Sha256 } from "./ids.js";
import { marked } from "./since.js";

const Millis = Type.Integer({ minimum: 1, maximum: 86_400_000 });
const Path = Type.String({ pattern: "^/", maxLength: 4096 });
const Url = Type.String({ pattern: "^https?://", maxLength: 2048 });
const ServiceName = Type.String({ pattern: "^[A-Za-z0-9@_.-]{1,128}$" });

/** Where an agent may read the version that really runs. Tried in order; the first that answers counts. */
export const VersionProbe = Type.Union([
  Type.Object(
    {
      kind: Type.Literal("metric-label"),
      url: Url,
      metric: Type.String({ maxLength: 128 }),
      label: Type.String({ maxLength: 128 }),
    },
    { additionalProperties: false },
  ),
  Type.Object(
    { kind: Type.Literal("http-json"), url: Url, pointer: Type.String({ maxLength: 256 }) },
    { additionalProperties: false },
  ),
  /** The version directory that /proc/<main pid>/exe was started from: true even after the link has moved on. */
  Type.Object({ kind: Type.Literal("process-exe") }, { additionalProperties: false }),
  /** The agent itself, which knows its own. */
  Type.Object({ kind: Type.Literal("agent") }, { additionalProperties: false, since: 2 }),
]);
export type VersionProbe = Static<typeof VersionProbe>;

/** One thing that must hold for a service to count as healthy. `command` names an entry of the host's own agent.yaml. */
export const Check = Type.Union([
  Type.Object({ kind: Type.Literal("process") }, { additionalProperties: false }),
  Type.Object(
    {
      kind: Type.Literal("http"),
      url: Url,
      status: Type.Integer({ minimum: 100, maximum: 599 }),
      /** A JSON pointer (RFC 6901) into the body, and the value that must be there. */
      json: Type.Optional(
        Type.Object(
          { pointer: Type.String({ maxLength: 256 }), equals: Type.Unknown() },
          { additionalProperties: false },
        ),
      ),
      timeoutMs: Millis,
    },
    { additionalProperties: false },
  ),
  Type.Object(
    {
      kind: Type.Literal("metric"),
      url: Url,
      metric: Type.String({ maxLength: 128 }),
      equals: Type.Number(),
      timeoutMs: Millis,
    },
    { additionalProperties: false },
  ),
  Type.Object(
    {
      kind: Type.Literal("tcp"),
      host: Type.String({ maxLength: 255 }),
      port: Type.Integer({ minimum: 1, maximum: 65535 }),
      timeoutMs: Millis,
    },
    { additionalProperties: false },
  ),
  Type.Object(
    { kind: Type.Literal("command"), command: ServiceName, timeoutMs: Millis },
    { additionalProperties: false },
  ),
]);
export type Check = Static<typeof Check>;

/** A path inside a folder, or nothing: no `..`, no `/` at either end. */
export const Below = Type.String({
  pattern: "^$|^(?!\\.\\.?(/|$))[^/\\0]+(/(?!\\.\\.?(/|$))[^/\\0]+)*$",
  maxLength: 256,
});

/**
 * The names by which programs are started: `<dir>/<program>`. Once Belay has adopted a host they are symbolic links to
 * `<link>/<below>/<program>`, so that the one link decides for all of them; before, they are plain files, or links straight
 * into a version's folder.
 */
export const Entry = Type.Object(
  {
    dir: Path,
    programs: Type.Array(Type.String({ pattern: "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$" }), { minItems: 1, maxItems: 16 }),
    below: Below,
  },
  { additionalProperties: false },
);
export type Entry = Static<typeof Entry>;

/**
 * What an agent must look at to describe its host. It comes from the product profile, because the agent knows no
 * product. `link` is the one symbolic link whose target (`<versionsDir>/<version>`) says what is installed.
 */
export const FactProbe = Type.Object(
  {
    service: ServiceName,
    versionsDir: Path,
    link: Path,
    /** Absent: the service is started through `link` itself. An older agent looks there, and sees less. */
    entry: Type.Optional(marked(Entry, { since: 2, spare: true })),
    version: Type.Array(VersionProbe, { maxItems: 8 }),
    checks: Type.Array(Check, { maxItems: 32 }),
    disks: Type.Array(Path, { maxItems: 16 }),
    /**
     * How the installed binary says which build it is. `program` lies below `link`; it is run with the one argument
     * `version`, and what it prints is searched for these words.
     */
    banner: Type.Optional(
      Type.Object(
        {
          program: Path,
          editions: Type.Array(
            Type.Object(
              { says: Type.String({ minLength: 1, maxLength: 128 }), edition: Type.String({ maxLength: 32 }) },
              { additionalProperties: false },
            ),
            { maxItems: 8 },
          ),
          fips: Type.String({ minLength: 1, maxLength: 128 }),
        },
        { additionalProperties: false },
      ),
    ),
  },
  { additionalProperties: false },
);
export type FactProbe = Static<typeof FactProbe>;

export const ServiceState = Type.Union([
  Type.Literal("running"),
  Type.Literal("stopped"),
  Type.Literal("failed"),
  Type.Literal("unknown"),
]);
export type ServiceState = Static<typeof ServiceState>;

/** One snapshot of a host, as its own agent saw it. Times are milliseconds since the epoch on the host's clock. */
export const HostFacts = Type.Object(
  {
    host: HostName,
    at: Type.Integer(),
    agentVersion: Type.String({ maxLength: 64 }),
    os: Type.String({ maxLength: 32 }),
    /** Go's names, as in release file names: amd64, arm64, arm, 386. */
    arch: Type.String({ maxLength: 32 }),
    edition: Type.String({ maxLength: 32 }),
    fips: Type.Boolean(),
    /** The version the link leads to; without a link, what the entry's programs say; null: nothing, or they disagree. */
    installed: Type.Union([Type.String({ maxLength: 64 }), Type.Null()]),
    /** The version the live process itself reports (I8); null: nothing runs, or it does not say. */
    running: Type.Union([Type.String({ maxLength: 64 }), Type.Null()]),
    /** Every whole version directory on the host. */
    kept: Type.Array(Type.String({ maxLength: 64 }), { maxItems: 256 }),
    service: Type.Object(
      {
        name: ServiceName,
        state: ServiceState,
        pid: Type.Union([Type.Integer(), Type.Null()]),
        /** How often it was restarted on its own since it was last started on purpose. */
        restarts: Type.Integer({ minimum: 0 }),
        /** Digest over the files that define it for its supervisor (systemd's unit and drop-ins); absent: nobody can say. */
        definition: Type.Optional(marked(Sha256, { since: 2, spare: true })),
      },
      { additionalProperties: false },
    ),
    healthy: Type.Boolean(),
    /** What is not healthy, in words. */
    ailments: Type.Array(Type.String({ maxLength: 1024 }), { maxItems: 64 }),
    disks: Type.Array(
      Type.Object(
        { path: Path, freeBytes: Type.Number({ minimum: 0 }), freeInodes: Type.Number({ minimum: 0 }) },
        { additionalProperties: false },
      ),
      { maxItems: 16 },
    ),
  },
  { additionalProperties: false },
);
export type HostFacts = Static<typeof HostFacts>;
