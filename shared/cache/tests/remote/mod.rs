//! What every remote tier promises, kept by the hub and by real Redis in each of its forms; and
//! what only one of them can show.

mod backend;
mod hub_only;
mod limits;
mod messages;
mod outages;
mod redis_only;
mod values;

/// Each promise as a test of each backend.
macro_rules! promises {
    ($($family:ident::$promise:ident),* $(,)?) => {
        promises!(hub_keeps_that: hub: $($family::$promise)*);
        promises!(redis_keeps_that: redis: $($family::$promise)*);
        promises!(sentinel_keeps_that: sentinel: $($family::$promise)*);
        promises!(cluster_keeps_that: cluster: $($family::$promise)*);
    };
    ($keeps:ident: $backend:ident: $($family:ident::$promise:ident)*) => {
        mod $keeps {
            $(#[tokio::test] async fn $promise() -> anyhow::Result<()> {
                let backend = crate::remote::backend::Backend::$backend()?;
                backend.works().await?;
                crate::remote::$family::$promise(backend).await
            })*
        }
    };
}

promises![
    values::values_come_back_as_they_were,
    values::values_come_in_the_order_of_their_keys_with_gaps,
    values::nothing_asked_is_nothing_done,
    values::a_value_is_gone_after_its_life,
    values::what_is_set_again_or_removed_is_not_there_any_more,
    values::a_lock_is_taken_once_until_it_runs_out,
    values::only_its_owner_opens_a_lock,
    messages::a_message_reaches_each_subscriber_of_its_channel_once,
    messages::a_slow_subscriber_is_told_down_and_up,
    messages::a_subscriber_is_told_down_and_up_around_an_outage,
    messages::subscriptions_end_with_the_remote,
    outages::commands_fail_in_an_outage_and_work_after_it,
    outages::a_silence_fails_the_guarded_reader_and_ends,
    outages::a_guard_opens_after_failures_and_closes_after_a_success,
    outages::a_failing_kind_of_call_leaves_the_others_alone,
    limits::a_burst_passes_and_no_more_however_many_ask_at_once,
    limits::a_wish_is_granted_as_far_as_it_can_be,
    limits::one_more_passes_when_it_was_said_and_not_before,
    limits::keys_are_limited_apart,
    limits::a_limit_that_is_whole_again_leaves_nothing_behind,
    limits::what_cannot_be_a_limits_state_harms_nobody,
    limits::a_limit_is_kept_through_another_handle,
];
