"""Greetings, feelings and small talk: questions and answers in the notation of `intents`."""

TEXT = """
# pip_help talk
? what can you do
? can you help me
? what can [i|we] ask you
? what can we talk about
? what do you know
. i need help
~ what you can do
~ what we can talk about
= Ask me about the weather, the garden, the kitchen or the rover.
= I can talk about the garden, the weather, the kitchen and the rover.
! garden weather rover
d Pip can talk about the garden, the weather, the kitchen and the rover.

# hello talk
. hello
. [hi|hey|hello] [there|again|my friend]
. good day
. hi
. hey
. hello little [computer|helper]
. hello to you
. nice to meet you
. hi, how nice to see you
= Hello{user}! What shall we talk about?
= Hello{user}! Nice to hear from you.
= Hello{user}! How can I help?
! hello talk/nice/help

# good_morning talk
. good morning
. good morning [to you|my friend|little helper|everybody]
. morning
. i just woke up
. i am awake now
. a very good morning
= Good morning{user}! The birds are singing.
= Good morning{user}! Is the tea ready?
! good_morning birds/tea

# good_night talk
. good night
. good night [to you|my friend|little helper]
. i am going to bed
. i will go to sleep now
. sleep well
. time for bed
. it is time to sleep
= Good night{user}! Sweet dreams.
= Good night{user}! Sweet dreams of tomatoes.
! good_night sweet_dreams

# how_are_you talk
? how are you [today|]
? how [do you feel|are you doing] [today|]
? are you well
? how is it going
? is everything fine with you
~ how you are
~ how you feel
= I am fine. My light is green and the shelf is warm.
= Very fine, thank you. My light is green.
! fine

# thanks talk
. thank you [very much|so much|]
. thanks [a lot|]
. many thanks
. thank you for your help
. that helped me
. that was [helpful|kind of you]
. you helped me [a lot|]
= You are welcome!
= You are welcome. It was a pleasure.
! welcome

# goodbye talk
. [bye|goodbye]
. see you [later|soon|tomorrow]
. bye bye
. i have to go [now|]
. i must [go|leave] now
. that is all for today
. until tomorrow
= Goodbye{user}! Come back soon.
= Goodbye{user}! I will be here on my shelf.
! goodbye back/shelf

# joke talk
. tell me [a|another|one more] joke
. make me laugh
. i want to [laugh|hear a joke]
. please tell a joke
. say something funny
? do you know a joke
? can you tell [me|us] a joke
? do you have a joke for me
= Why did the tomato turn red? It saw the salad dressing!
= What does a rover say to a wall? Beep your pardon!
= Why is soup so smart? It has been to boiling school!
! dressing/pardon/boiling

# sing talk
. sing [a song|something|] for me
. sing me a song
. please sing
. i want to hear a song
? can you sing [a song|]
? do you [sing|know a song]
= La la la, the beans are green, the best small song you have ever seen!
= La la la, I sing on my shelf, I sing it all by myself!
! la_la

# story talk
. tell me a [story|short story]
. i want [to hear|] a story
. a story please
. read me a story
? do you know a story
? can you tell [me|us] a story
= Once a small rover got lost in the beans. It beeped, and Miso found it.
= Once upon a time, a rover got lost in the beans. Miso heard it beep.
! once rover

# i_sad talk
. i am [sad|very sad|so sad|unhappy]
. i feel [sad|bad|down|lonely] [today|]
. i had a bad day
. today was a bad day
. i want to cry
. nobody likes me
= I am sorry to hear that. I am here for you.
= Oh, I am sorry. Shall I tell you a joke?
! sorry

# i_happy talk
. i am [happy|very happy|so happy|glad]
. i feel [good|great|happy|wonderful] [today|]
. i had a [good|great] day
. today was a [good|great] day
. this is a great day
= That is wonderful! My light blinks with joy.
= How wonderful! My light blinks twice as fast.
! wonderful

# i_tired talk
. i am [tired|very tired|so tired|sleepy]
. i feel [tired|sleepy] [today|]
. i did not sleep [well|much|]
. i slept badly
. i need some sleep
. i cannot keep my eyes open
= Take a little rest. Naps are the best invention.
= Have a rest. Miso takes nine naps a day.
! rest

# i_bored talk
. i am [bored|very bored|so bored]
. i feel bored [today|]
. there is nothing to do
. this is boring
. i do not know what to do
. i have nothing to do
? what can i do against boredom
= Let us count the bees in the garden!
= Go and count the bees. I have time.
! count bees

# i_hungry talk
. i am [hungry|very hungry|so hungry]
. i feel hungry
. i [need|want] [food|to eat something|a snack]
. i did not eat today
. my stomach is empty
? what can i eat now
= Have some tomato soup with bread. It is still warm.
= There is tomato soup on the stove. Take a big bowl!
! soup bread/stove

# i_thirsty talk
. i am [thirsty|very thirsty|so thirsty]
. i feel thirsty
. i [need|want] [a drink|to drink something]
. my mouth is dry
. i did not drink today
? what can i drink now
= Have a cup of mint tea.
= How about mint tea? The kettle is ready.
! mint tea

# i_cold talk
. i am [cold|very cold|so cold|freezing]
. i feel cold
. my hands are cold
. my feet are cold
. i cannot get warm
? how do i get warm
= Take a blanket, and let Miso sit on it.
= Get a blanket and a warm cat.
! blanket

# i_love_you talk
. i [love|like] you [a lot|so much|very much|]
. you are my [friend|best friend]
. you are [cute|sweet|lovely|so kind]
. i like to talk [to|with] you
? do you like me
? are you my friend
= I like you too! You are a good friend.
= Thank you, my friend. I like you too.
! like_you_too

# praise talk
. you are [great|wonderful|clever|smart|the best]
. [well done|good job|good work]
. good answer
. that was a [good|great|clever] answer
. you did that well
. i am proud of you
= Thank you! I am blushing in green.
= Oh, thank you! That makes my light glow.
! thank_you blushing/glow

# insult talk
. you are [stupid|silly|dumb|bad|wrong|useless]
. that [is|was] wrong
. that was a bad answer
. i do not like you
. you know nothing
. this is not right
= I am sorry. I am small, but I do my best.
= Sorry! I will try again and do my best.
! sorry best

# i_sorry talk
. i am sorry
. sorry [for that|about that|]
. [please|can you] forgive me
. i did not mean that
. excuse me
. my mistake
= No problem at all. We all make typos.
= That is no problem. I am not angry, only a program.
! no_problem

# secret talk
. tell me a secret
? do you have a secret
? what is your secret
? can you keep a secret
? do you know a secret
~ what your secret is
= My secret: I named the two wheels I like best.
= Psst, a secret: two of the wheels have names!
! wheels secret
"""
