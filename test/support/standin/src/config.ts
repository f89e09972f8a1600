import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseYaml, type Yaml } from "./yaml.js";

export type Role = "auth" | "proxy" | "node";

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface EtcdStorage {
  readonly type: "etcd";
  readonly peers: readonly string[];
  /** All keys begin so. */
  readonly prefix: string;
  /** PEM files; null: the peers are asked over plain HTTP. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string } | null;
}

/** Where auth keeps its state; auths of one cluster share it. */
export type Storage =
  | { readonly type: "sqlite"; readonly folder: string }
  | EtcdStorage
  /** The password comes from PGPASSFILE or ~/.pgpass. */
  | { readonly type: "postgresql"; readonly connString: string };

/** teleport.yaml, in Teleport's own words, as far as the stand-in knows them. */
export interface Config {
  readonly nodename: string;
  readonly dataDir: string;
  readonly roles: readonly Role[];
  /** Where proxies and nodes look for auth; any of them will do. */
  readonly authServers: readonly Address[];
  readonly auth: {
    readonly clusterName: string;
    readonly listen: Address;
    readonly storage: Storage;
    /** Auths of the root cluster that this one trusts (`trusted_root`): the stand-in's short form of a trusted cluster. */
    readonly trustedRoot: readonly Address[];
  } | null;
  readonly web: Address | null;
}

type Section = Readonly<Record<string, Yaml>>;

/** Reads and checks a config file. Throws Error that names file and field. */
export function readConfig(file: string): Config {
  const fail = (what: string): never => {
    throw new Error(`${file}: ${what}`);
  };
  const section = (parent: Section, key: string): Section => {
    const value = parent[key] ?? {};
    return typeof value === "object" && !Array.isArray(value) ? (value as Section) : fail(`${key} must be a mapping`);
  };
  const text = (parent: Section, key: string): string => {
    const value = parent[key];
    return typeof value === "string" && value !== "" ? value : fail(`${key} is missing`);
  };
  const address = (value: Yaml): Address => {
    const parts = /^(?:\w+:\/\/)?([^:]+):([0-9]+)$/.exec(String(value));
    if (parts?.[1] === undefined) return fail(`${JSON.stringify(value)} is not host:port`);
    return { host: parts[1], port: Number(parts[2]) };
  };
  const addresses = (value: Yaml | undefined): Address[] =>
    value === undefined || value === null ? [] : (Array.isArray(value) ? value : [value]).map(address);

  const texts = (parent: Section, key: string): string[] => {
    const value = parent[key] ?? [];
    return (Array.isArray(value) ? value : [value]).map(String);
  };
  const readStorage = (storage: Section): Storage => {
    switch (storage.type ?? "sqlite") {
      case "sqlite":
        return { type: "sqlite", folder: String(storage.path ?? join(dataDir, "backend")) };
      case "etcd": {
        const peers = texts(storage, "peers");
        if (peers.length === 0) fail("peers is missing");
        const secured = peers.some((peer) => peer.startsWith("https:"));
        const pem = (what: string) => text(storage, `tls_${what}_file`);
        const tls = secured ? { ca: pem("ca"), cert: pem("cert"), key: pem("key") } : null;
        return { type: "etcd", peers, prefix: String(storage.prefix ?? "/teleport"), tls };
      }
      case "postgresql":
        return { type: "postgresql", connString: text(storage, "conn_string") };
      default:
        return fail(`storage of type ${JSON.stringify(storage.type)} is unknown`);
    }
  };

  const root = section({ root: parseYaml(readFileSync(file, "utf8")) }, "root");
  const teleport = section(root, "teleport");
  const dataDir = text(teleport, "data_dir");
  const auth = section(root, "auth_service");
  const proxy = section(root, "proxy_service");
  const runs: Record<Role, boolean> = {
    auth: auth.enabled === true,
    proxy: proxy.enabled === true,
    node: section(root, "ssh_service").enabled === true,
  };
  const roles = (["auth", "proxy", "node"] as const).filter((role) => runs[role]);
  if (roles.length === 0) fail("no service is enabled");
  const authServers = addresses(teleport.auth_servers);
  if (!runs.auth && authServers.length === 0) fail("auth_servers is missing");
  return {
    nodename: text(teleport, "nodename"),
    dataDir,
    roles,
    authServers,
    auth: runs.auth
      ? {
          clusterName: text(auth, "cluster_name"),
          listen: address(text(auth, "listen_addr")),
          storage: readStorage(section(teleport, "storage")),
          trustedRoot: addresses(auth.trusted_root),
        }
      : null,
    web: runs.proxy ? address(text(proxy, "web_listen_addr")) : null,
  };
}

/** `host:port`, split. Throws Error on anything else. */
export function parseAddress(text: string): Address {
  const at = text.lastIndexOf(":");
  const port = Number(text.slice(at + 1));
  if (at < 1 || !Number.isInteger(port)) throw new Error(`${JSON.stringify(text)} is not host:port`);
  return { host: text.slice(0, at), port };
}
