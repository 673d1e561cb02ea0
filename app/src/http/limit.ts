import { z } from "zod";

const message = "expected a whole number from 1 to 100";

/** How many items a page of a list has. */
export const limitParameter = z
  .string()
  .regex(/^\d{1,3}$/, message)
  .transform(Number)
  .refine((limit) => limit >= 1 && limit <= 100, message)
  .default(20);
