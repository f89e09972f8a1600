import { execFileSync } from "node:child_process";
import { appendFileSync } from "node:fs";
import type { Owner } from "../../support/servers/child.js";
import { PostgresServer } from "../../support/servers/postgres.js";

/** The database `teleport` of a real PostgreSQL, as agent.yaml names it, and as a test looks into it. */
export class PostgresBackend {
  readonly server: PostgresServer;

  private constructor(server: PostgresServer) {
    this.server = server;
  }

  static async start(owner: Owner): Promise<PostgresBackend> {
    return new PostgresBackend(await PostgresServer.start(owner));
  }

  /** A role that owns nothing and may make nothing yet. Its password lies beside the server's own role's. */
  addRole(role: string): void {
    const { port, password, passFile } = this.server;
    this.sql(`CREATE ROLE ${role} LOGIN PASSWORD '${password}'`);
    appendFileSync(passFile, `127.0.0.1:${port}:*:${role}:${password}\n`);
  }

  /** agent.yaml's words for it, as one of its roles. */
  config(more = "", role = this.server.role): string {
    const { port, passFile } = this.server;
    return `{ kind: postgres, host: 127.0.0.1, port: ${port}, database: teleport, user: ${role}, passFile: ${passFile}${more} }`;
  }

  /** What psql prints, unadorned, for one of its roles. Each statement is a transaction of its own. Throws when one fails. */
  sql(statements: string, role = this.server.role): string {
    const argv = [
      "-d",
      this.server.connString("teleport", role),
      "-w",
      "-X",
      "-q",
      "-A",
      "-t",
      "-v",
      "ON_ERROR_STOP=1",
      "-f",
      "-",
    ];
    const env = { ...process.env, PGPASSFILE: this.server.passFile };
    return execFileSync("psql", argv, { env, encoding: "utf8", input: statements }).trim();
  }
}
