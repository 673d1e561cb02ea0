const secrets = "/run/secrets/groundwork";

/** Shell in a container of Redis: its client, signed in as `user`. After every second rotation a password has another file. */
export function redisCli(user: string): string {
  const password = `$(cat "$(ls ${secrets}/${user}-password* | head -n 1)")`;
  return `REDISCLI_AUTH=${password} redis-cli --tls --cacert ${secrets}/ca.crt --user ${user}`;
}
