import type { Field } from "./field.js";

/**
 * A state backend as the host's owner describes it: where it is and how it is reached. Secrets are named by the file
 * they are in, so that neither this file nor anything that shows it holds one.
 */
export type BackendConfig = EtcdBackend | PostgresBackend | CommandBackend;

export interface EtcdBackend {
  kind: "etcd";
  /** Asked in this order; the first that answers is used. */
  endpoints: readonly string[];
  /** What the keys of the service begin with, and no others: it ends with a slash. A restore touches nothing else. */
  prefix: string;
  tls: ClientTls;
  user: string | null;
  passwordFile: string | null;
}

export interface PostgresBackend {
  kind: "postgres";
  /** A name, an address, or the folder of a Unix socket. */
  host: string;
  port: number;
  database: string;
  user: string;
  /** In the format of libpq's .pgpass. */
  passFile: string | null;
  /** What libpq calls sslmode; null: its own default. */
  sslMode: string | null;
  tls: ClientTls;
  /** What belongs to the service; empty: the whole database. */
  schemas: readonly string[];
}

/** Programs of the owner's own; each gets the backup's path as its last argument. */
export interface CommandBackend {
  kind: "command";
  backup: readonly string[];
  restore: readonly string[];
  /** Ends with 0 if the backup can be read; null: only its digest is checked. */
  verify: readonly string[] | null;
}

export interface ClientTls {
  caFile: string | null;
  certFile: string | null;
  keyFile: string | null;
}

const TLS_FIELDS = ["caFile", "certFile", "keyFile"];
const BACKEND_FIELDS = {
  etcd: ["kind", "endpoints", "prefix", ...TLS_FIELDS, "user", "passwordFile"],
  postgres: ["kind", "host", "port", "database", "user", "passFile", "sslMode", ...TLS_FIELDS, "schemas"],
  command: ["kind", "backup", "restore", "verify"],
} as const;
const SSL_MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] as const;
/** No white space or control characters, and no quotes: they end up in reports and in SQL literals. */
const PLAIN = /^[^\s"'\\\p{Cc}]{1,200}$/u;

/** One entry of `backends`. Throws `config-invalid`. */
export function backend(field: Field): BackendConfig {
  const kind = field.member("kind").oneOf(["etcd", "postgres", "command"] as const);
  field.members(BACKEND_FIELDS[kind]);
  if (kind === "etcd") return etcd(field);
  if (kind === "postgres") return postgres(field);
  const verify = field.member("verify");
  return {
    kind,
    backup: field.member("backup").argv(),
    restore: field.member("restore").argv(),
    verify: verify.absent ? null : verify.argv(),
  };
}

function etcd(field: Field): EtcdBackend {
  const endpoints = field.member("endpoints");
  const list = endpoints
    .list()
    .map((each) => each.matching(/^https?:\/\/[^/?#\s@]+\/?$/, "an address like https://127.0.0.1:2379"));
  if (list.length === 0) throw endpoints.bad("must be a list of at least one address");
  const user = optional(field.member("user"), (each) => each.matching(/^[^\s:]{1,200}$/, "a user's name"));
  const passwordFile = optional(field.member("passwordFile"), (each) => each.path());
  if ((user === null) !== (passwordFile === null)) throw field.bad("needs both user and passwordFile, or neither");
  return {
    kind: "etcd",
    endpoints: list.map((each) => each.replace(/\/$/, "")),
    prefix: below(field.member("prefix").matching(PLAIN, "a plain text such as /teleport")),
    tls: tls(field),
    user,
    passwordFile,
  };
}

/** The service puts a slash behind it, too: /teleport-eu may be another one's. */
function below(prefix: string): string {
  return prefix.endsWith("/") ? prefix : `${prefix}/`;
}

function postgres(field: Field): PostgresBackend {
  return {
    kind: "postgres",
    host: field.member("host").matching(PLAIN, "a host's name or address, or the folder of a socket"),
    port: field.member("port").integer({ min: 1, max: 65_535, fallback: 5432 }),
    database: field.member("database").matching(/^[A-Za-z0-9_.-]{1,63}$/, "a database's name"),
    user: field.member("user").matching(/^[A-Za-z0-9_.-]{1,63}$/, "a user's name"),
    passFile: optional(field.member("passFile"), (each) => each.path()),
    sslMode: optional(field.member("sslMode"), (each) => each.oneOf(SSL_MODES)),
    tls: tls(field),
    schemas: field
      .member("schemas")
      .list()
      .map((each) => each.matching(/^[A-Za-z_][A-Za-z0-9_]{0,62}$/, "a schema's name")),
  };
}

function tls(field: Field): ClientTls {
  const path = (name: string) => optional(field.member(name), (each) => each.path());
  const [caFile, certFile, keyFile] = [path("caFile"), path("certFile"), path("keyFile")];
  if ((certFile === null) !== (keyFile === null)) throw field.bad("needs both certFile and keyFile, or neither");
  return { caFile, certFile, keyFile };
}

function optional<T>(field: Field, read: (field: Field) => T): T | null {
  return field.absent ? null : read(field);
}
