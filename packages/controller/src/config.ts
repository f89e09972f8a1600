import { readFile } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { BelayError, decoder } from "@belay/shared";
import Type, { type Static } from "typebox";
import { LineCounter, parseDocument } from "yaml";
import { type OidcConfig, OidcFile, readOidc } from "./config-oidc.js";
import { type BackupStoreConfig, BackupStoreFile, readBackupStore } from "./config-store.js";
import { DOOR_LIMITS } from "./http/doors/limits.js";

const Address = Type.String({ pattern: "^.+:[0-9]{1,5}$" });
const Seconds = Type.Number({ minimum: 0.1, maximum: 3_600 });

/** belayd.yaml. Paths may be relative to the file's own folder. */
const ConfigFile = Type.Object(
  {
    /** `host:port`; only loopback. Port 0: any free one. */
    listen: Type.Optional(Address),
    /** A second door, for agents and for people on other hosts: the same API over TLS. */
    tls: Type.Optional(
      Type.Object(
        {
          listen: Address,
          /** What agents dial; by default what `listen` says, or every name and address of this machine. */
          names: Type.Optional(Type.Array(Type.String({ pattern: "^[A-Za-z0-9.:_-]{1,253}$" }), { minItems: 1 })),
          /** For people; agents are always shown the one that belayd's own authority issued. */
          certificate: Type.Optional(Type.String({ minLength: 1 })),
          key: Type.Optional(Type.String({ minLength: 1 })),
        },
        { additionalProperties: false },
      ),
    ),
    /** Who is who. The authority is made at the first start, or brought along. */
    identity: Type.Optional(
      Type.Object(
        {
          caCertificate: Type.Optional(Type.String({ minLength: 1 })),
          caKey: Type.Optional(Type.String({ minLength: 1 })),
          hostCertificateSeconds: Type.Optional(Type.Integer({ minimum: 2, maximum: 7_776_000 })),
        },
        { additionalProperties: false },
      ),
    ),
    dataDir: Type.Optional(Type.String({ minLength: 1 })),
    fleet: Type.Optional(Type.String({ minLength: 1 })),
    releases: Type.Optional(Type.String({ minLength: 1 })),
    /** Made at the first start if it isn't there, readable by its owner alone. */
    apiTokenFile: Type.Optional(Type.String({ minLength: 1 })),
    logLevel: Type.Optional(
      Type.Union(["trace", "debug", "info", "warn", "error"].map((level) => Type.Literal(level))),
    ),
    agents: Type.Optional(
      Type.Object(
        {
          pingEverySeconds: Type.Optional(Seconds),
          factsEverySeconds: Type.Optional(Seconds),
          /** Agents on this very machine may come through `listen` with a token in the clear. */
          plaintextTokens: Type.Optional(Type.Boolean()),
        },
        { additionalProperties: false },
      ),
    ),
    /** Who belongs to which group, for gates that ask for approvals of one. */
    groups: Type.Optional(Type.Record(Type.String({ maxLength: 128 }), Type.Array(Type.String({ maxLength: 128 })))),
    /** For fleets that come through one address; everything else that is limited is so for everybody. */
    limits: Type.Optional(
      Type.Object(
        { connectionsPerAddress: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 })) },
        { additionalProperties: false },
      ),
    ),
    /** Through whom people sign in who have no token. */
    oidc: Type.Optional(OidcFile),
    /** Where copies of backups go, where fleet.yaml wants any. */
    backupStore: Type.Optional(BackupStoreFile),
    /** belayd's audit log. */
    audit: Type.Optional(
      Type.Object({ checkpointEverySeconds: Type.Optional(Seconds) }, { additionalProperties: false }),
    ),
    /** An allowed_signers file: whose signed approvals are recorded. Left out: anybody's, and the hosts alone judge. */
    approvers: Type.Optional(Type.String({ minLength: 1 })),
    /** How managed clusters are asked; `http` is for tests. */
    managedScheme: Type.Optional(Type.Union([Type.Literal("https"), Type.Literal("http")])),
  },
  { additionalProperties: false },
);

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

export interface TlsConfig {
  readonly listen: ListenAddress;
  /** Null: by what it listens on. */
  readonly names: readonly string[] | null;
  /** Paths of PEM files; null: there is but belayd's own certificate. */
  readonly owners: { readonly certificate: string; readonly key: string } | null;
}

export interface IdentityConfig {
  /** Paths of PEM files; null: belayd makes its own. */
  readonly given: { readonly certificate: string; readonly key: string } | null;
  readonly hostCertificateMs: number;
}

export interface Config {
  /** Where it was read from. */
  readonly file: string;
  readonly listen: ListenAddress;
  /** Null: loopback only. */
  readonly tls: TlsConfig | null;
  readonly dataDir: string;
  readonly fleet: string;
  readonly releases: string | null;
  readonly apiTokenFile: string;
  readonly logLevel: string;
  readonly pingEveryMs: number;
  readonly factsEveryMs: number;
  readonly identity: IdentityConfig;
  readonly plaintextTokens: boolean;
  readonly groups: Readonly<Record<string, readonly string[]>>;
  /** Open connections from one address, as long as nobody knows whose they are. */
  readonly connectionsPerAddress: number;
  /** Null: people have tokens alone. */
  readonly oidc: OidcConfig | null;
  readonly backupStore: BackupStoreConfig;
  /** Entries of the audit log are under a signed checkpoint after this long, at most. */
  readonly checkpointEveryMs: number;
  readonly approversFile: string | null;
  readonly managedScheme: "https" | "http";
}

const HOST_CERTIFICATE_SECONDS = 7 * 24 * 3600;

const decodeConfig = decoder(ConfigFile, "belayd.yaml", "config-invalid");

/** Reads belayd.yaml. Throws `config-unreadable` or `config-invalid`, naming file, field and, for bad YAML, line. */
export async function readConfig(path: string): Promise<Config> {
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw new BelayError("config-unreadable", `${path}: ${(cause as Error).message}`, {
      hint: "Name belayd's configuration: belayd --config FILE",
      cause,
    });
  });
  return parseConfig(text, path);
}

/** As `readConfig`, from the file's text. */
export function parseConfig(text: string, path: string): Config {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const broken = document.errors[0];
  if (broken !== undefined) {
    throw new BelayError(
      "config-invalid",
      `${path}:${lines.linePos(broken.pos[0]).line}: ${broken.message.split("\n")[0]}`,
    );
  }
  const file = decodeAt(path, document.toJS() ?? {});
  const folder = dirname(path);
  const at = (name: string) => (isAbsolute(name) ? name : join(folder, name));
  const dataDir = at(file.dataDir ?? "/var/lib/belay");
  return {
    file: path,
    listen: readLoopback(file.listen ?? "127.0.0.1:7440", path),
    tls:
      file.tls === undefined
        ? null
        : {
            listen: readAddress(file.tls.listen, "tls.listen", path),
            names: file.tls.names ?? null,
            owners: readPair(file.tls, ["certificate", "key"], "tls", path, at),
          },
    dataDir,
    fleet: at(file.fleet ?? "/etc/belay/fleet.yaml"),
    releases: file.releases === undefined ? null : at(file.releases),
    apiTokenFile: file.apiTokenFile === undefined ? join(dataDir, "api-token") : at(file.apiTokenFile),
    logLevel: file.logLevel ?? "info",
    pingEveryMs: (file.agents?.pingEverySeconds ?? 10) * 1000,
    factsEveryMs: (file.agents?.factsEverySeconds ?? 60) * 1000,
    identity: {
      given: readPair(file.identity ?? {}, ["caCertificate", "caKey"], "identity", path, at),
      hostCertificateMs: (file.identity?.hostCertificateSeconds ?? HOST_CERTIFICATE_SECONDS) * 1000,
    },
    plaintextTokens: file.agents?.plaintextTokens ?? false,
    groups: file.groups ?? {},
    connectionsPerAddress: file.limits?.connectionsPerAddress ?? DOOR_LIMITS.connections.strangers,
    oidc: readOidc(file.oidc, path, at),
    backupStore: readBackupStore(file.backupStore, dataDir, path, at),
    checkpointEveryMs: (file.audit?.checkpointEverySeconds ?? 10) * 1000,
    approversFile: file.approvers === undefined ? null : at(file.approvers),
    managedScheme: file.managedScheme ?? "https",
  };
}

/** A certificate and its key: both, or neither. Throws `config-invalid`. */
function readPair<C extends string, K extends string>(
  section: { readonly [name in C | K]?: string },
  [certificate, key]: readonly [C, K],
  name: string,
  path: string,
  at: (file: string) => string,
): { certificate: string; key: string } | null {
  const [one, other] = [section[certificate], section[key]];
  if (one === undefined && other === undefined) return null;
  if (one !== undefined && other !== undefined) return { certificate: at(one), key: at(other) };
  throw new BelayError("config-invalid", `${path}: ${name}: ${certificate} and ${key} go together`, {
    hint: "Name both, or leave both out.",
  });
}

function decodeAt(path: string, value: unknown): Static<typeof ConfigFile> {
  try {
    return decodeConfig(value);
  } catch (error) {
    const { message, context } = error as BelayError;
    throw new BelayError("config-invalid", `${path}: ${message}`, {
      hint: "docs/configuration.md lists every field.",
      ...(context === undefined ? {} : { context }),
    });
  }
}

/** Throws `listen-refused` for anything but loopback: tokens in the clear have no business on a network. */
function readLoopback(text: string, path: string): ListenAddress {
  const { host, port } = readAddress(text, "listen", path);
  if (!/^127(?:\.\d{1,3}){3}$/.test(host) && host !== "::1" && host !== "localhost") {
    throw new BelayError("listen-refused", `${path}: listen: ${text} is not a loopback address`, {
      hint: "Listen on 127.0.0.1 here, and open a door for other hosts with `tls`: without TLS, tokens would travel in the clear.",
    });
  }
  return { host, port };
}

function readAddress(text: string, field: string, path: string): ListenAddress {
  const colon = text.lastIndexOf(":");
  const port = Number(text.slice(colon + 1));
  if (port > 65_535) throw new BelayError("config-invalid", `${path}: ${field}: there is no port ${port}`);
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ""), port };
}
