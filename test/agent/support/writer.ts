import { setTimeout as wait } from "node:timers/promises";
import { DatabaseSync } from "./database.js";

/**
 * Writes two tables in one transaction, over and over, as a busy backend does: as fast as it can, or so many times a second
 * (argv: file, rate). Says so once it has begun.
 */
const [file = "", rate] = process.argv.slice(2);
const database = new DatabaseSync(file);
database.exec(`PRAGMA journal_mode=WAL; PRAGMA busy_timeout=5000;
  CREATE TABLE a (id INTEGER PRIMARY KEY, v BLOB); CREATE TABLE b (id INTEGER PRIMARY KEY, v BLOB)`);
const began = performance.now();
for (let n = 0; ; n += 1) {
  database.exec(
    "BEGIN; INSERT INTO a(v) VALUES (randomblob(2000)); INSERT INTO b(v) VALUES (randomblob(2000)); COMMIT",
  );
  if (n === 200) process.stdout.write("writing\n");
  // Late is made good: it is a rate, not a pause.
  const ahead = rate === undefined ? 0 : began + (n * 1000) / Number(rate) - performance.now();
  if (ahead > 1) await wait(ahead);
}
