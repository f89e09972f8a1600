import { DatabaseSync } from "./database.js";

/** Writes two tables in one transaction, over and over, as a busy backend does. Says so once it has begun. */
const database = new DatabaseSync(process.argv[2] ?? "");
database.exec("PRAGMA journal_mode=WAL; PRAGMA busy_timeout=5000; CREATE TABLE a (v BLOB); CREATE TABLE b (v BLOB)");
for (let n = 0; ; n += 1) {
  database.exec("BEGIN; INSERT INTO a VALUES (randomblob(2000)); INSERT INTO b VALUES (randomblob(2000)); COMMIT");
  if (n === 200) process.stdout.write("writing\n");
}
