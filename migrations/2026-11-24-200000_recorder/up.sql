-- The process that began to record last. What another one judged in its memory alone, only it
-- knows: a process that finds another's name here does not trust what it sent before.
ALTER TABLE meta ADD COLUMN recorder uuid;
