import { z } from "zod";
import { described, httpUrl, optional, secretFile, wholeNumber } from "./forms.ts";

/** Chat, speech, the external APIs behind them, and the limits on their use. */
export const chatVariables = {
  AI_URL: optional(
    httpUrl,
    "https://ai.example.org/v1",
    "OpenAI-compatible API of the language model; without it the built-in stub answers",
  ),
  AI_KEYS_FILE: optional(
    secretFile,
    "/run/secrets/groundwork/ai-keys",
    "File with the language model's API keys, one per line, the preferred one first; read again when it changes",
  ),
  AI_MODEL: described(z.string().default("gpt-5"), { description: "Model that answers by default" }),
  AI_SMALL_MODEL: described(z.string().default("gpt-5-mini"), {
    description: "Model that answers short questions; name AI_MODEL's again to have one model only",
  }),
  AI_SMALL_MODEL_CHARACTERS: described(wholeNumber(0, 100_000).default(400), {
    description: "Length of conversation in characters up to which AI_SMALL_MODEL answers",
  }),
  AI_TIMEOUT_SECONDS: described(wholeNumber(1, 300).default(15), {
    description:
      "Seconds the language model may be silent, before its answer or within it, until the attempt is given up",
  }),
  AI_MAX_RETRIES: described(wholeNumber(0, 10).default(2), {
    description: "Times the language model is asked again; each time with every key that is not rate-limited",
  }),
  AI_DEADLINE_SECONDS: described(wholeNumber(1, 600).default(60), {
    description: "Seconds within which the language model must have answered, all attempts together",
  }),
  AI_MODE_FILE: optional(
    z.string(),
    "/etc/groundwork/ai/mode",
    "File that may say stub: the built-in stub then answers everything; looked at again while running",
  ),
  SPEECH_URL: optional(
    httpUrl,
    "https://ai.example.org/v1",
    "OpenAI-compatible API of the speech model; without it silence is spoken",
  ),
  SPEECH_KEYS_FILE: optional(
    secretFile,
    "/run/secrets/groundwork/speech-keys",
    "File with the speech model's API keys, as AI_KEYS_FILE",
  ),
  SPEECH_MODEL: described(z.string().default("gpt-4o-mini-tts"), { description: "Model that speaks" }),
  SPEECH_TIMEOUT_SECONDS: described(wholeNumber(1, 300).default(15), {
    description:
      "Seconds the speech model may be silent, before its audio or within it, until the attempt is given up",
  }),
  SPEECH_MAX_RETRIES: described(wholeNumber(0, 10).default(1), {
    description: "Times the speech model is asked again",
  }),
  SPEECH_DEADLINE_SECONDS: described(wholeNumber(1, 600).default(30), {
    description: "Seconds within which the speech model must have answered, all attempts together",
  }),
  OCR_URL: optional(
    httpUrl,
    "https://ai.example.org/v1",
    "OpenAI-compatible API of the model that reads pictures; without it none are read",
  ),
  OCR_KEYS_FILE: optional(
    secretFile,
    "/run/secrets/groundwork/ocr-keys",
    "File with that model's API keys, as AI_KEYS_FILE",
  ),
  OCR_MODEL: described(z.string().default("gpt-5-mini"), { description: "Model that reads pictures" }),
  OCR_TIMEOUT_SECONDS: described(wholeNumber(1, 300).default(20), {
    description: "Seconds until an attempt to have a picture read is given up",
  }),
  OCR_MAX_RETRIES: described(wholeNumber(0, 10).default(1), {
    description: "Times the model is asked to read a picture again",
  }),
  OCR_DEADLINE_SECONDS: described(wholeNumber(1, 600).default(45), {
    description: "Seconds within which a picture must have been read, all attempts together",
  }),
  AI_CACHE_TTL_SECONDS: described(wholeNumber(1, 604_800).default(3600), {
    description: "Seconds an answer of the language model stays in the cache",
  }),
  SPEECH_CACHE_TTL_SECONDS: described(wholeNumber(1, 604_800).default(86_400), {
    description: "Seconds spoken text stays in the cache",
  }),
  SESSION_TTL_SECONDS: described(wholeNumber(1, 604_800).default(3600), {
    description: "Seconds after its last question that a conversation is remembered",
  }),
  SESSION_TURNS: described(wholeNumber(1, 100).default(10), {
    description: "Questions with their answers that a user's conversations remember",
  }),
  CHAT_RESUME_SECONDS: described(wholeNumber(1, 600).default(15), {
    description:
      "Seconds within which a caller who was cut off may take an answer up again; then the model's work is stopped",
  }),
  CHAT_HEARTBEAT_SECONDS: described(wholeNumber(1, 300).default(15), {
    description: "Seconds between signs of life on a stream; less than any proxy's idle time-out",
  }),
  CHAT_LIMIT_PER_MINUTE: described(wholeNumber(1, 1_000_000).default(30), {
    description: "Questions, spoken texts, pictures and jobs per user and minute, all replicas together",
  }),
  TENANT_LIMIT_PER_MINUTE: described(wholeNumber(1, 1_000_000_000).default(60_000), {
    description: "Requests per tenant and minute, all replicas together",
  }),
};
