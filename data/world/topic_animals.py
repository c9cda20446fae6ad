"""The animals: questions and answers in the notation of `intents`."""

TEXT = """
# animal_name animals
? what is the name of the {s}
? what is the {s} called
? does the {s} have a name
? what do you call the {s}
~ what the {s} is called
~ the name of the {s}
> and the {s}
> and what is the {s} called
> what about the {s}
= The {s} is called {n}.
= The name of the {s} is {n}.
! {key}
d The {s} is called {n}.
- cat: s=cat; n=Miso; key=miso
- hedgehog: s=hedgehog; n=Prickles; key=prickles
- rover: s=rover; n=Dot; key=dot
- frog: s=frog; n=Sir Hop; key=hop
- owl: s=owl; n=Professor Hoot; key=professor

# animal_eats animals
? what {do} {s} eat
? what is the food of {s}
? what can i give {s} to eat
? what {do} {s} like to eat
? what is the favourite [food|dinner] of {s}
~ what {s} {eat}
> and {s}
> what about {s}
> and what {do} {s} eat
= {S} {eat} {food}.
= {S} {love} {food} for dinner.
! {key}
d {S} {eat} {food}.
- cat: s=the cat; do=does; eat=eats; love=loves; food=fish; key=fish
- hedgehog: s=the hedgehog; do=does; eat=eats; love=loves; food=slugs; key=slugs
- birds: s=the birds; do=do; eat=eat; love=love; food=seeds; key=seeds
- frog: s=the frog; do=does; eat=eats; love=loves; food=flies; key=flies
- owl: s=the owl; do=does; eat=eats; love=loves; food=mice; key=mice
- rabbit: s=the rabbit; do=does; eat=eats; love=loves; food=carrots; key=carrots

# sleeps animals
? where {do} {s} sleep
? where {do} {s} live
? where is the [bed|home] of {s}
? where can i find {s} at night
? where {do} {s} stay at night
~ where {s} {sleep}
> and where {do} {s} sleep
> where {do} {s} sleep
= {S} {sleep} {where}.
= You can find {s} {where}.
! {key}
d {S} {sleep} {where}.
- cat: s=the cat; do=does; sleep=sleeps; where=in the laundry basket; key=laundry
- hedgehog: s=the hedgehog; do=does; sleep=sleeps; where=under a pile of leaves; key=leaves
- birds: s=the birds; do=do; sleep=sleep; where=in their nests; key=nests
- frog: s=the frog; do=does; sleep=sleeps; where=under the lilies; key=lilies
- owl: s=the owl; do=does; sleep=sleeps; where=in the hollow oak; key=oak
- bees: s=the bees; do=do; sleep=sleep; where=in the hive; key=hive
- rover: s=the rover; do=does; sleep=sleeps; where=under the workbench; key=workbench
- rabbit: s=the rabbit; do=does; sleep=sleeps; where=in a deep burrow; key=burrow

# sound animals
? what does the {s} say
? what sound does the {s} make
? how does the {s} sound
? which sound does the {s} make
? what noise does the {s} make
~ what [sound|noise] the {s} makes
> and the {s}
> and what does the {s} say
> what about the {s}
= The {s} says {sound}.
= {Sound}! That is how the {s} sounds.
! {sound}
d The {s} says {sound}.
- cat: s=cat; sound=meow
- bird: s=bird; sound=tweet
- frog: s=frog; sound=croak
- bee: s=bee; sound=buzz
- owl: s=owl; sound=hoo
- rover: s=rover; sound=beep
- kettle: s=kettle; sound=whistle
- sheep: s=sheep; sound=baa

# legs animals
? how many legs [does|has] {s} [have|]
? how many legs are there on {s}
? on how many legs does {s} walk
~ how many legs {s} has
> and how many legs has {s}
> and {s}
= {S} has {n} legs.
= {N} legs, if I count right.
! {n} legs
d {S} has {n} legs.
- cat: s=a cat; n=four
- bird: s=a bird; n=two
- bee: s=a bee; n=six
- spider: s=a spider; n=eight
- worm: s=a worm; n=no

# milk animals
? who drinks [the|] milk
? who likes milk
? who gets the milk
? for whom is the milk
? who [stole|drank] the milk
~ who drinks the milk
~ who gets the milk
= Miso drinks the milk. She says it is hers.
= The milk is for Miso, and she knows it.
! miso
d Miso drinks all the milk.

# night_animal animals
? who is awake at night
? who walks in the garden at night
? which animal is awake at night
? who [comes out|gets up] at night
? who makes noise in the garden at night
~ who is awake at night
~ who walks in the garden at night
= The owl and the hedgehog are awake at night.
= At night the owl sings and the hedgehog walks.
! owl hedgehog
d At night the owl and the hedgehog are awake.

# winter_animal animals
? who sleeps [all|in the] winter
? which animal sleeps [all|in the] winter
? what does the hedgehog do in [the|] winter
? where is the hedgehog in [the|] winter
~ who sleeps all winter
~ what the hedgehog does in winter
= The hedgehog sleeps all winter, until the first warm day.
= Prickles the hedgehog sleeps until spring. What a nap!
! hedgehog sleeps
d The hedgehog sleeps all winter.

# miso_do animals
? what does miso do [all day|]
? what is miso like
? is miso a good cat
? what does miso like
. tell me about miso
~ what miso does all day
~ what miso is like
= Miso purrs, naps and knocks down one cup a day.
= She naps all day and then knocks a cup off the table.
! naps cup
d Miso naps all day and knocks down one cup.
"""
