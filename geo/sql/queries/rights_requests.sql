-- new_id --
-- An id before the row is there: what is sealed is bound to it.
SELECT uuid_v7();

-- rights_received --
-- Take a request in; when it is due.
SELECT rights_received(:id, :ticket, CAST(:codes AS bytea[]), :kind, :subject, :masked, :cipher, :hash, :against, :moment);

-- rights_followed --
-- What the holder of ticket and code is told.
SELECT rights_followed(:ticket, CAST(:codes AS bytea[]));

-- rights_listed --
-- The requests that the caller answers for.
SELECT * FROM rights_listed(:ticket, :state, :late, :moment, :most);

-- rights_phone --
-- The phone number of a request, sealed.
SELECT * FROM rights_phone(:ticket);

-- rights_candidates --
-- Records that carry the phone number of a request, by the keyed hashes that it may have.
SELECT * FROM rights_candidates(:ticket, CAST(:hashes AS bytea[]));

-- rights_verified --
-- Who asks is who they say, and these records are theirs.
SELECT rights_verified(:ticket, :how, CAST(:findings AS jsonb), :moment);

-- rights_moved --
-- A step of a request, by whoever comes first.
SELECT rights_moved(:ticket, CAST(:kinds AS text[]), :target, :note, :grounds, :channel, :moment);

-- rights_copied --
-- Everything held of what was found to be theirs.
SELECT * FROM rights_copied(:ticket);

-- rights_found --
-- The records that were found to be theirs.
SELECT kind, noun, feature FROM rights_found(:ticket);

-- rights_deleted --
-- Destroy what was found to be theirs, and the words of the request.
SELECT * FROM rights_deleted(:ticket);
