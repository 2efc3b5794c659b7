CREATE TABLE `run_shards` (
	`name` text PRIMARY KEY NOT NULL
);
