import { readFile } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { BelayError, decoder } from "@belay/shared";
import Type, { type Static } from "typebox";
import { LineCounter, parseDocument } from "yaml";
import { type BackupStoreConfig, BackupStoreFile, readBackupStore } from "./config-store.js";

const Address = Type.String({ pattern: "^.+:[0-9]{1,5}$" });
const Seconds = Type.Number({ minimum: 0.1, maximum: 3_600 });

/** belayd.yaml. Paths may be relative to the file's own folder. */
const ConfigFile = Type.Object(
  {
    /** `host:port`; only loopback. Port 0: any free one. */
    listen: Type.Optional(Address),
    /** A second door, for agents on other hosts (and people with a certificate authority in common): the same API over TLS. */
    tls: Type.Optional(
      Type.Object(
        { listen: Address, certificate: Type.String({ minLength: 1 }), key: Type.String({ minLength: 1 }) },
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
        { pingEverySeconds: Type.Optional(Seconds), factsEverySeconds: Type.Optional(Seconds) },
        { additionalProperties: false },
      ),
    ),
    /** Who belongs to which group, for gates that ask for approvals of one. */
    groups: Type.Optional(Type.Record(Type.String({ maxLength: 128 }), Type.Array(Type.String({ maxLength: 128 })))),
    /** Where copies of backups go, where fleet.yaml wants any. */
    backupStore: Type.Optional(BackupStoreFile),
    /** belayd's audit log. */
    audit: Type.Optional(
      Type.Object({ checkpointEverySeconds: Type.Optional(Seconds) }, { additionalProperties: false }),
    ),
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
  /** Paths of PEM files. */
  readonly certificate: string;
  readonly key: string;
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
  readonly groups: Readonly<Record<string, readonly string[]>>;
  readonly backupStore: BackupStoreConfig;
  /** Entries of the audit log are under a signed checkpoint after this long, at most. */
  readonly checkpointEveryMs: number;
  readonly managedScheme: "https" | "http";
}

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
            certificate: at(file.tls.certificate),
            key: at(file.tls.key),
          },
    dataDir,
    fleet: at(file.fleet ?? "/etc/belay/fleet.yaml"),
    releases: file.releases === undefined ? null : at(file.releases),
    apiTokenFile: file.apiTokenFile === undefined ? join(dataDir, "api-token") : at(file.apiTokenFile),
    logLevel: file.logLevel ?? "info",
    pingEveryMs: (file.agents?.pingEverySeconds ?? 10) * 1000,
    factsEveryMs: (file.agents?.factsEverySeconds ?? 60) * 1000,
    groups: file.groups ?? {},
    backupStore: readBackupStore(file.backupStore, dataDir, path, at),
    checkpointEveryMs: (file.audit?.checkpointEverySeconds ?? 10) * 1000,
    managedScheme: file.managedScheme ?? "https",
  };
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
