import Database from "better-sqlite3";

/** The few calls these tests make on a real SQLite database. */
export class DatabaseSync {
  readonly #database: Database.Database;

  constructor(file: string) {
    this.#database = new Database(file);
  }

  exec(sql: string): void {
    this.#database.exec(sql);
  }

  rows(sql: string): unknown[] {
    return this.#database.prepare(sql).all();
  }

  close(): void {
    this.#database.close();
  }
}
