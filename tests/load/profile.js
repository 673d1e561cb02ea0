// What `make load PROFILE=…` does to the service: users who sign in, read and write, through the edge, with targets.
import { check, sleep } from "k6";
import http from "k6/http";

// How long, and the seconds between two requests of a user and between two users' first sign-ins: those of a soak share
// the address of one pod, and so the edge's limits by address.
const profiles = {
  smoke: { duration: "30s", pause: 0.5, signInEvery: 0.1 },
  expected: { duration: "5m", pause: 0.5, signInEvery: 0.1 },
  "ten-times": { duration: "10m", pause: 0.5, signInEvery: 0.1 },
  soak: { duration: "48h", pause: 2, signInEvery: 13 },
};
const { duration, pause, signInEvery } = profiles[__ENV.PROFILE];
const accounts = JSON.parse(open(__ENV.ACCOUNTS));

export const options = {
  vus: Number(__ENV.USERS),
  duration: __ENV.DURATION || duration,
  thresholds: { http_req_failed: ["rate<0.001"], http_req_duration: ["p(95)<500"], checks: ["rate>0.999"] },
  // Inside the cluster the edge's name leads to its Service.
  hosts: JSON.parse(__ENV.HOSTS || "{}"),
};

let session;

function send(method, path, name, body, token) {
  const headers = {
    "Content-Type": "application/json",
    // Each user an address, and so a rate limit, of their own: the edge believes it from this machine only.
    "X-Forwarded-For": `2001:db8:10ad:${__VU.toString(16)}::1`,
    ...(token && { Authorization: `Bearer ${token}` }),
  };
  return http.request(method, `${__ENV.BASE_URL}${path}`, body && JSON.stringify(body), {
    headers,
    tags: { name },
  });
}

/** As a client does: a token holds for minutes, and is renewed before it ends. */
function signIn() {
  const renewed = session !== undefined;
  const answer = renewed
    ? send("POST", "/api/v2/auth/refresh", "refresh", { refreshToken: session.refreshToken })
    : send("POST", "/api/v2/auth/sign-in", "sign-in", accounts[__VU - 1]);
  const granted = check(answer, { "a sign-in is answered with 200": ({ status }) => status === 200 });
  if (!granted) {
    session = undefined;
    return;
  }
  const { accessToken, refreshToken, expiresIn } = answer.json();
  session = { token: accessToken, refreshToken, until: Date.now() + expiresIn * 800 };
}

export default function () {
  if (__ITER === 0) sleep((__VU - 1) * signInEvery);
  if (session === undefined || Date.now() > session.until) signIn();
  if (session === undefined) {
    sleep(pause);
    return;
  }
  const documents = "/api/v1/documents";
  const listed = send("GET", `${documents}?limit=20`, "list", undefined, session.token);
  check(listed, { "a list is answered with 200": ({ status }) => status === 200 });
  sleep(pause);
  // One in ten writes.
  if (__ITER % 10 === 0) {
    const body = { title: "load", content: `${__VU} ${__ITER}` };
    const written = send("POST", documents, "write", body, session.token);
    check(written, { "a document is answered with 201": ({ status }) => status === 201 });
    sleep(pause);
  }
}

export function handleSummary(data) {
  return { [__ENV.SUMMARY]: `${JSON.stringify(data)}\n` };
}
