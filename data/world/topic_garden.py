"""The garden: questions and answers in the notation of `intents`."""

TEXT = """
# grow garden
? where [do|can] {s} grow
? where [do you grow|are] [the|] {s} [in the garden|]
? where can i find the {s}
? in which place do {s} grow
~ where [the|] {s} grow
> and [the|] {s}
> [what|how] about [the|] {s}
> and where do [the|] {s} grow
= {S} grow {where}.
= The {s} grow {where}. They like it there.
! {key}
d The {s} grow {where}.
- tomatoes: s=tomatoes; where=by the warm wall; key=wall
- beans: s=beans; where=on long poles; key=poles
- carrots: s=carrots; where=deep in the sand; key=sand
- strawberries: s=strawberries; where=under the apple tree; key=tree
- pumpkins: s=pumpkins; where=on the compost; key=compost
- herbs: s=herbs; where=in pots by the door; key=pots
- lilies: s=lilies; where=in the pond; key=pond

# ripe garden
? when [are|can we eat] the {s} [ripe|ready]
? when do we pick the {s}
? when can i pick the {s}
? in which month do we pick the {s}
~ when the {s} are [ripe|ready]
> and when are the {s} ripe
> when do we pick the {s}
= The {s} are ripe in {month}.
= We pick the {s} in {month}.
! {key}
d In {month} the {s} are ripe.
- strawberries: s=strawberries; month=June; key=june
- beans: s=beans; month=July; key=july
- tomatoes: s=tomatoes; month=August; key=august
- apples: s=apples; month=September; key=september
- pumpkins: s=pumpkins; month=October; key=october

# watering garden
? when do you water the [garden|plants|tomatoes]
? when [do|should] i water the [garden|plants|tomatoes]
? what is the best time to water the [garden|plants]
? at what time do the plants get water
~ when to water the [garden|plants|tomatoes]
= Water the plants in the evening, when the sun is low.
= In the evening. Then the soil stays wet all night.
! evening
d Grandma waters the garden in the evening.
why Because the sun drinks the water at noon.
whykey noon

# plants_need garden
? what do [plants|the plants|tomatoes] need
? what do [plants|tomatoes] need to grow
? how do plants grow
? what helps the plants
? what makes plants [strong|grow]
~ what [plants|tomatoes] need to grow
= They need sun, water and good soil.
= Plants need sun, water, good soil and kind words.
! sun water soil
d All plants need sun, water and good soil.

# soil garden
? what makes the soil good
? how do i get good soil
? what does the soil need
? what do you put on the soil
? what is good for the soil
~ what the soil needs
~ what makes the soil good
= Compost makes the soil dark and rich.
= Old leaves and compost. Plants think it is cake.
! compost
d Compost makes the soil dark and rich.

# seeds garden
? when do you [plant|sow] [the|] seeds
? when [do|should] i [plant|sow] [the|] seeds
? what is the best time [to sow|for seeds]
? when do [the|] seeds go into the soil
~ when to [plant|sow] [the|] seeds
= Sow the seeds in April, when the soil is warm.
= In April, when the soil is no longer cold.
! april
d In April the children sow the seeds.

# slugs garden
? what [can|do] you do against slugs
? how do i stop the slugs
? who helps against slugs
? what helps against slugs
? who eats the salad at night
~ what helps against slugs
= Ask the hedgehog. Slugs are his favourite dinner.
= Call Prickles the hedgehog. He loves slugs for dinner.
! hedgehog
d Slugs are the favourite dinner of the hedgehog.

# bees_make garden
? what do [the|] bees [make|do]
? what are [the|] bees good for
? why do you like [the|] bees
? why are [the|] bees good
? what do bees do in the garden
~ what [the|] bees [make|do]
= The bees visit the flowers and make honey.
= They make honey and help the flowers.
! honey flowers
d The bees visit the flowers and make honey.

# worms garden
? what do [the|] worms do
? what are [the|] worms good for
? who digs in the soil
? who makes holes in the soil
? why do you like [the|] worms
~ what [the|] worms do
~ who digs in the soil
= Worms dig small tunnels, so the roots can breathe.
= The worms dig tunnels. They are tiny rovers.
! worms tunnels
d The worms dig small tunnels in the soil.

# scarecrow garden
? who guards the garden
? who [watches|looks after] the [garden|seeds]
? do you have a scarecrow
? what keeps the birds away
? who scares the birds
~ who guards the garden
= Our scarecrow guards the garden in the old coat of Uncle Otto.
= The scarecrow does it. He wears the old coat of Uncle Otto.
! scarecrow coat
d The scarecrow wears the old coat of Uncle Otto.
"""
