-- webhook_make --
-- A system that is told.
SELECT webhook_made(:id, :title, :url, :cipher, :scope, CAST(:events AS text[]));

-- webhook_end --
-- A system that is told no more.
SELECT webhook_ended(:id);

-- webhooks_told --
-- The systems that are told, and how that goes.
SELECT * FROM webhooks_told();

-- webhook_deliveries_told --
-- What was given up, or waits after a failure.
SELECT * FROM webhook_deliveries_told(:dead, :most);

-- webhook_retry --
-- What was given up, once more.
SELECT webhook_retried(:id);

-- webhooks_gather --
-- What was published since, into the outbox.
SELECT webhooks_gathered(:most);

-- webhook_claim --
-- What is due of one system.
SELECT * FROM webhook_claimed(:most);

-- webhook_answer --
-- What came of a try.
SELECT webhook_answered(:id, :taken, :answer, :tries, :dead, make_interval(secs => :seconds));
