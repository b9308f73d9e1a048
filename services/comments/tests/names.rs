//! Names: the profiles own them, and comments show them as they are, or say that they may not be.

use crate::support;

use anyhow::Result;
use larder::remote::Remote as _;
use larder::remote::hub::{Faults, Hub};
use larder_host::on_both;
use larder_host::trial::{Home, SOON, said};
use larder_proto::profiles::v1::{DeleteProfileRequest, GetProfileRequest};
use larder_testkit::wait_until;
use std::time::{Duration, Instant};
use support::{House, NOBODY, Node, OLD, People, STRONG, by, note, source, token};

on_both!(
    a_rename_shows_in_every_list_at_once_to_whoever_has_its_token,
    a_rename_shows_in_every_list_as_soon_as_it_is_heard_of,
    a_strong_read_asks_both_databases,
    one_call_may_show_tokens_of_both_services,
    a_name_that_nobody_has_loaded_yet_is_loaded_without_waiting,
    an_author_without_a_profile_has_no_name_until_there_is_one,
    a_rendered_list_is_a_hit_until_one_of_its_parts_moves,
    a_profile_loaded_by_one_service_is_a_hit_in_the_other,
    while_the_profiles_are_away_the_last_names_are_shown_and_marked,
    comments_start_and_are_served_without_the_profiles,
    a_replica_of_the_profiles_that_is_away_costs_no_name,
);

/// Ada has said something about each of these.
const PRODUCTS: [&str; 3] = ["kettle", "pot", "pan"];

async fn talkative(home: Home) -> Result<(House, Node)> {
    let house = House::new(home).await?;
    let there = house.another().await?;
    house.people.create("ada", "Ada").await?;
    house.people.create("bob", "Bob").await?;
    for product in PRODUCTS {
        for author in ["ada", "bob"] {
            let id = format!("{author}-on-{product}");
            house.comments.create(by(&id, product, author)).await?;
        }
    }
    for product in PRODUCTS {
        house.comments.list(product).await?;
        there.list_asking(product, &STRONG).await?;
    }
    Ok((house, there))
}

async fn a_rename_shows_in_every_list_at_once_to_whoever_has_its_token(home: Home) -> Result<()> {
    let (house, there) = talkative(home).await?;
    for round in 0..10 {
        let name = format!("Ada the {round}th");
        let token = house.people.rename("ada", &name).await?;
        let shown = [("larder-token", token.as_str()), OLD[0]];
        for node in [&house.comments, &there] {
            for product in PRODUCTS {
                let (names, from) = node.names(product, &shown).await?;
                assert_eq!(names, ["Bob", name.as_str()], "{product} from {from}");
            }
            let comment = node.get_asking("ada-on-pan", &shown).await?.into_inner();
            assert_eq!(comment.author_display_name, name);
        }
    }
    Ok(())
}

async fn a_rename_shows_in_every_list_as_soon_as_it_is_heard_of(home: Home) -> Result<()> {
    let (house, there) = talkative(home).await?;
    for round in 0..5 {
        let name = format!("Ada the {round}th");
        house.people.rename("ada", &name).await?;
        for node in [&house.comments, &there] {
            for product in PRODUCTS {
                let heard = async || {
                    let names = node.names(product, &OLD).await;
                    names.is_ok_and(|(names, _)| names == ["Bob", name.as_str()])
                };
                wait_until("the new name", SOON, heard).await?;
            }
        }
    }
    // By hand, it is known from the profiles' journal.
    house.home.by_hand(
        "profiles",
        "UPDATE profiles SET display_name = 'Lady' WHERE id = 'ada'",
    )?;
    let seen = async || {
        there
            .names("pan", &OLD)
            .await
            .is_ok_and(|(names, _)| names[1] == "Lady")
    };
    wait_until("the name changed by hand", SOON, seen).await
}

async fn a_strong_read_asks_both_databases(home: Home) -> Result<()> {
    let (house, there) = talkative(home).await?;
    // Nobody hears anything from now on, but by asking.
    let deafening = Faults {
        lose_every: 1,
        ..Faults::default()
    };
    house.hub.set_faults(deafening);
    for round in 0..5 {
        let name = format!("Ada the {round}th");
        house.people.rename("ada", &name).await?;
        let id = format!("new-{round}");
        house.comments.create(by(&id, "kettle", "ada")).await?;
        let page = there.list_asking("kettle", &STRONG).await?;
        assert_eq!(source(page.metadata()), "db");
        let newest = &page.get_ref().comments[0];
        assert_eq!((&newest.id, &newest.author_display_name), (&id, &name));
        let comment = there.get_asking("ada-on-pot", &STRONG).await?;
        assert_eq!(source(comment.metadata()), "db");
        assert_eq!(comment.get_ref().author_display_name, name);
    }
    Ok(())
}

async fn one_call_may_show_tokens_of_both_services(home: Home) -> Result<()> {
    let (house, _) = talkative(home).await?;
    let deaf = house.deaf().await?;
    deaf.list("kettle").await?;
    let deafening = Faults {
        lose_every: 1,
        ..Faults::default()
    };
    house.hub.set_faults(deafening);
    let renamed = house.people.rename("ada", "Countess").await?;
    let created = house.comments.create(note("new")).await?;
    let created = token(created.metadata());
    let both = [
        ("larder-token", renamed.as_str()),
        ("larder-token", created.as_str()),
        OLD[0],
    ];
    let (names, _) = deaf.names("kettle", &both).await?;
    assert_eq!(names, ["Countess", "Bob", "Countess"]);
    Ok(())
}

async fn a_name_that_nobody_has_loaded_yet_is_loaded_without_waiting(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    for number in 0..10 {
        let (id, author) = (format!("c{number}"), format!("author-{number}"));
        house.people.create(&author, &author).await?;
        house.comments.create(by(&id, "kettle", &author)).await?;
    }
    let began = Instant::now();
    for number in 0..10 {
        let comment = house
            .comments
            .get(&format!("c{number}"))
            .await?
            .into_inner();
        assert_eq!(comment.author_display_name, comment.author_id);
    }
    // A lock that both wait for costs a second or two for each.
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    Ok(())
}

async fn an_author_without_a_profile_has_no_name_until_there_is_one(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    let node = &house.comments;
    node.create(note("c")).await?;
    let (names, from) = node.names("kettle", &[]).await?;
    assert_eq!((names, from.as_str()), (vec![String::new()], "db"));
    let made = token(house.people.create("ada", "Ada").await?.metadata());
    let shown = [("larder-token", made.as_str())];
    assert_eq!(node.names("kettle", &shown).await?.0, ["Ada"]);
    let request = DeleteProfileRequest {
        id: "ada".to_owned(),
        expected_version: None,
    };
    let gone = house.people.client.clone().delete_profile(request).await?;
    let gone = token(gone.metadata());
    let shown = [("larder-token", gone.as_str())];
    assert_eq!(node.names("kettle", &shown).await?.0, [""]);
    assert_eq!(
        node.get_asking("c", &shown)
            .await?
            .into_inner()
            .author_display_name,
        ""
    );
    Ok(())
}

async fn a_rendered_list_is_a_hit_until_one_of_its_parts_moves(home: Home) -> Result<()> {
    let (house, _) = talkative(home).await?;
    let node = &house.comments;
    let hit = async || {
        node.names("kettle", &OLD)
            .await
            .is_ok_and(|(_, from)| from == "l1")
    };
    let miss = async || {
        node.names("kettle", &OLD)
            .await
            .is_ok_and(|(_, from)| from != "l1")
    };
    wait_until("a hit", SOON, hit).await?;
    house.people.rename("bob", "Robert").await?;
    wait_until("a miss after a rename", SOON, miss).await?;
    wait_until("a hit", SOON, hit).await?;
    // What is none of its parts does not move it.
    house.people.create("eve", "Eve").await?;
    node.create(by("elsewhere", "pot", "eve")).await?;
    let other = node.names("kettle", &OLD).await?;
    assert_eq!(
        other,
        (vec!["Robert".to_owned(), "Ada".to_owned()], "l1".to_owned())
    );
    node.delete("bob-on-kettle", None).await?;
    let (names, from) = node.names("kettle", &OLD).await?;
    assert_eq!(names, ["Ada"]);
    assert_ne!(from, "l1");
    Ok(())
}

/// Waits until the remote tier has a profile.
async fn stored(hub: &Hub, id: &str) -> Result<()> {
    let name = [format!("larder:v1:profiles:{id}")];
    let there = async || hub.get(&name).await.is_ok_and(|values| values[0].is_some());
    wait_until("a profile in the remote tier", SOON, there).await
}

async fn a_profile_loaded_by_one_service_is_a_hit_in_the_other(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    let whole = house.people.create("ada", "Ada").await?.into_inner();
    house.comments.create(note("c")).await?;
    let get = || GetProfileRequest {
        id: "ada".to_owned(),
    };
    // 1. The profiles load it; comments take what they stored.
    house.people.client.clone().get_profile(get()).await?;
    stored(&house.hub, "ada").await?;
    let taken = async || {
        let node = house.another().await?;
        let comment = node.get_asking("c", &OLD).await?.into_inner();
        assert_eq!(comment.author_display_name, "Ada");
        let metrics = node.replica.admin("/metrics").await?.1;
        let hit = "larder_reads_total{keyspace=\"profiles\",outcome=\"l2\"} 1";
        node.replica.stop().await?;
        anyhow::Ok(metrics.contains(hit))
    };
    // Whoever starts takes nothing from there before its first round.
    wait_until("a hit in comments", SOON, async || {
        taken().await.is_ok_and(|hit| hit)
    })
    .await?;
    // 2. Comments load it, from the memory of the profiles, which store nothing then.
    house.hub.clear();
    house.comments.get_asking("c", &STRONG).await?;
    house.hub.clear();
    let another = house.another().await?;
    another.get_asking("c", &OLD).await?;
    stored(&house.hub, "ada").await?;
    let people = People::of(house.home.parts(&house.hub)).await?;
    let found = people.client.clone().get_profile(get()).await?;
    assert_eq!(source(found.metadata()), "l2");
    assert_eq!(found.into_inner(), whole);
    Ok(())
}

async fn while_the_profiles_are_away_the_last_names_are_shown_and_marked(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    let node = &house.comments;
    house.people.create("ada", "Ada").await?;
    house.people.create("bob", "Bob").await?;
    node.create(note("known")).await?;
    node.create(by("mixed", "pot", "ada")).await?;
    assert_eq!(node.names("kettle", &[]).await?.0, ["Ada"]);
    let address = house.people.replica.grpc;
    house.people.replica.stop().await?;
    // Not before: the name of whoever comments is asked for soon, in case a crowd comes.
    node.create(by("unknown", "pot", "bob")).await?;

    let stale = async || {
        node.names("kettle", &[])
            .await
            .is_ok_and(|(_, from)| from == "stale")
    };
    wait_until("a list that is marked", SOON, stale).await?;
    let page = node.list("kettle").await?;
    assert_eq!(page.get_ref().comments[0].author_display_name, "Ada");
    let age: u64 = said(page.metadata(), "larder-age-ms").parse()?;
    assert!((1000..60_000).contains(&age), "{age}");
    // Where a name is not known at all, nobody can say how far behind that is.
    let page = node.list("pot").await?;
    let names: Vec<_> = page
        .get_ref()
        .comments
        .iter()
        .map(|c| &c.author_display_name)
        .collect();
    assert_eq!(names, ["", "Ada"]);
    assert_eq!(source(page.metadata()), "stale");
    assert_eq!(said(page.metadata(), "larder-age-ms"), i64::MAX.to_string());
    let comment = node.get("unknown").await?;
    assert_eq!(
        (comment.get_ref().body.as_str(), source(comment.metadata())),
        ("It boils.", "stale")
    );
    // Comments themselves are as fresh as ever.
    node.create(note("new")).await?;
    assert_eq!(node.ids("kettle").await?, ["new", "known"]);

    let mut parts = house.home.parts(&house.hub);
    parts.grpc = larder_host::Port::At(address);
    let _people = People::of(parts).await?;
    let back = async || {
        let names = node.names("pot", &[]).await;
        names.is_ok_and(|(names, from)| names == ["Bob", "Ada"] && from != "stale")
    };
    wait_until("the names, and no mark", SOON, back).await
}

async fn comments_start_and_are_served_without_the_profiles(home: Home) -> Result<()> {
    let node = Node::of(home.parts(&Hub::new()), NOBODY).await?;
    let created = node.create(note("c")).await?.into_inner();
    let page = node.list("kettle").await?;
    assert_eq!(page.get_ref().comments, [created]);
    assert_eq!(source(page.metadata()), "stale");
    // Nobody who wrote anything, nobody to ask for.
    let empty = node.list("pot").await?;
    assert_eq!(source(empty.metadata()), "db");
    node.replica.stop().await
}

async fn a_replica_of_the_profiles_that_is_away_costs_no_name(home: Home) -> Result<()> {
    let house = House::new(home).await?;
    let both = format!("{NOBODY},{}", house.people.url());
    let node = Node::of(house.home.parts(&house.hub), &both).await?;
    for number in 0..20 {
        let (id, author) = (format!("c{number}"), format!("author-{number}"));
        house.people.create(&author, &author).await?;
        node.create(by(&id, "kettle", &author)).await?;
        let comment = node.get(&id).await?;
        assert_eq!(comment.get_ref().author_display_name, author);
        assert_ne!(source(comment.metadata()), "stale");
    }
    Ok(())
}
