"""The words and phrases by which `palaver.turn.intent` tells what an utterance is.

Lower case, without accents (`ü` is `u`, `ß` is `ss`), separated by commas. A phrase may hold the
signs `! ? . ;` (`;` for a comma too) as words of their own, `#` for a number and `^` for the
beginning of a clause.
A line that begins at the margin names the intent and the weight of the phrases below it:

    6  a threat, whatever else is said
    5  hostile or unmistakable
    4  what somebody who says this wants
    3  said in passing: thanks, a question
    2  weak: only if there is nothing better
    0  harmless; keeps its words from counting as something else
"""

from __future__ import annotations

__all__ = ["NEGATIONS", "NO_TYPOS", "WORDS"]

WORDS = """
# English
threat 6:
    your head, snap your, crack your, rip out your, cut out your, find your body, torch the,
    torch this, pay up, your blood will, your blood is, drop your weapon, drop your sword,
    or i take, or i'll take, or we, you will beg, you'll beg, on your knees, you're dead,
    you dead, or i shoot, or i'll shoot, or i'll kill, or i kill, or you die, or i'll hurt,
    or i'll break, or i'll burn, or i'll cut, to run ;, seconds to run, seconds to leave,
    kill you, kil you, kil u, kill ya, kill u, kill your, kill them all, kill everyone,
    kill all of you, murder you, slay you, end you, end your life, hurt you, gut you, cut you,
    slice you, stab you, shoot you, burn you, crush you, destroy you, smash you, smash your,
    break your, rip you, rip your, tear you, tear your, skin you, hang you, beat you, punch you,
    attack you, hunt you, bury you, strangle you, bleed you, haunt you, stake you, drown you,
    silence you forever, cut your, slit your, take your head, have your head, want your head,
    off with your head, your head on a, you will die, you'll die, you die, must die, shall die,
    gonna die, going to die, about to die, prepare to die, time to die, ready to die,
    want to die, wanna die, wish to die, or die, now die, die !, die ., die ;, die monster,
    die vampire, die demon, die scum, die beast, die zombie, die foul, you are dead, dead man,
    dead meat, you are finished, you're finished, you will pay, you'll pay, make you pay,
    pay for this, pay for that, pay for what, you will regret, you'll regret, regret this,
    last chance, last warning, final warning, i warn you, i'm warning you, warning you, or else,
    don't make me, dont make me, hesitate to, your money or, hand over, hand it over,
    empty your pockets, give me your money, give me your gold, give me all your,
    draw your sword, draw your weapon, draw your blade, fight me, face me coward,
    watch your back, burn this place, burn it down, burn your, burn down, blood will,
    i'll have your blood, won't leave here alive, won't live, never see the sun, stake through,
    stake in your, wring your neck, make you suffer, make you bleed, make you scream,
    you will suffer, you'll suffer, say your prayers, i'll get you, come to kill, here to kill,
    came to kill, here to slay, come to slay
threat 0:
    did you die, if you die, when you die, before you die, until you die, can you die,
    cannot die, how you die, should you die, use your head, your head hurt, your head hurts,
    in your head, on your head, lost your head, over your head, i am about to die,
    i'm about to die, i am going to die, i'm going to die, i'm gonna die, i must die, turn to,
    wants to kill you, tried to kill you, trying to kill you, who killed
threat 4:
    surrender, your last words, any last words, this is a robbery
threat 2:
    shoot, stab, strangle, torture, robbery, kill, murder, slaughter, revenge, vengeance,
    destroy, slay, attack
insult 5:
    stinks, your breath, bad joke, waste of space, you call yourself, you ran away,
    you call that, nobody likes, no one likes, piece of, disgrace to, you are nothing but,
    sick of you, blockhead, disgrace, hag, shut it, shut your, shut ur, crone, old goat,
    goat face, eat dirt, scoundrel, scoundrels, worm, rat face, ratface, stinking, stinky,
    smelly, smells like, a joke, oaf, lunatic, madman, creep, creepy, nobody asked, disgust me,
    a monster, you monster, you beast, you rat, you swine, you fiend, spineless, gutless,
    big mouth, old bat, bag of, nuts for brains, no brain, no brains, ugliest, dumbest,
    stupidest, worst, idiot, idiots, fool, fools, foolish, stupid, moron, morons, dumb, dumbass,
    ugly, scum, scumbag, coward, worthless, pathetic, loser, bastard, bitch, asshole, arsehole,
    ass hole, dickhead, prick, wanker, shut up, stfu, screw you, fuck you, fuck off, f you,
    fuck u, fck you, piss off, bugger off, sod off, get lost, you suck, u suck, you stink,
    u stink, you smell, you reek, i hate you, hate you, filth, filthy, liar, traitor, trash,
    garbage, useless, swine, pig, son of a, disgusting, clown, jerk, bloodsucker, leech,
    brainless, imbecile, nitwit, halfwit, simpleton, dimwit, buffoon, peasant, vermin, maggot,
    wretch, bonehead, go to hell, rot in hell, thanks for nothing, kiss my, old hag, old fart,
    your mother, your mom, your mum, you dog, mangy, mutt, flea bag, freak, you are nothing,
    you're nothing, waste of, bag of bones, pile of bones, nobody likes you, hideous, cretin,
    laughable, ridiculous, dunce, twit, noob, crybaby
insult 0:
    i'm stupid, i am stupid, i'm an idiot, i am an idiot, such an idiot, i was a fool,
    i'm a fool, i am a fool, i was stupid, i'm not a fool, am i stupid, feel stupid,
    a stupid question, stupid question, dumb question, i'm ugly, dumb luck
quest 4:
    quest, quests, mission, missions, task, tasks, job, jobs, work, bounty, bounties, errand,
    errands, contract, adventure, assignment, reward, sidequest
quest 5:
    me to do, to do ?, to do around, of help, of assistance, of some use, job done, job is done,
    task is done, it is done ;, take the job, what next, need from me, you want done,
    needs killing, need killing, needs help, take care of those, take care of the,
    take care of that, need of help, something needs, hire me, work for you, hiring,
    what's next, anyone need, anyone needs, do you need help, you need help, u need help,
    need any help, need some help, need a hand, need a hero, need someone to, need somebody to,
    anything i can do, something i can do, can i help, may i help, how can i help, could i help,
    can i do for you, what needs doing, i can help you, help you with, make myself useful,
    be of service, at your service, of any help, looking for work, anything to do,
    something to do, rats to kill, monsters to kill, what must i do, what should i do next,
    what do you need done, i accept, i'll do it, i did what you asked, i found your,
    i have brought, i brought you, need doing, lend a hand, want me to do, any trouble around,
    any trouble here
quest 0:
    how does it work, how does this work, how does that work, does it work, it work, this work,
    that work, works, good job, nice job, great job, good work, nice work, great work, for work,
    a living, won't work, didn't work, doesn't work, out of work, does magic work, your job is,
    your work is
trade 4:
    # gold, # silver, # coin, # coins, # gems, # pieces, # gp, # g, give me for,
    give me in exchange, you want for, will you take, you take for, lower the price, discounts,
    charge, how many gold, how many coins, how much gold, bargains, what would you pay,
    will you pay, barter with, can you repair, could you repair, could you fix, best price,
    a fair price, any good deals, on offer, merchant, wholesale, buy, buying, sell, selling,
    sells, sold, trade, trading, trader, price, prices, cost, costs, shop, store, wares, goods,
    merchandise, barter, haggle, discount, bargain, purchase, how much, for sale, stock,
    your offer, make me an offer, coins for, gold for, i'll give you, i will give you,
    i can pay, i'll pay, i will pay, take for it, in exchange, swap, wtb, wts, catalogue,
    what have you got, what do you have, whatcha got, got any potions, got any swords,
    show me your, too expensive, expensive, cheap, cheaper, rent, refund, let's make a deal,
    make a deal, business, cash
trade 2:
    gold, coin, coins, money, silver, deal, offer, afford, potion, potions, supplies, gems, pay
trade 0:
    none of your business, big deal, good deal of, in the shop, pay attention
farewell 4:
    better get going, get going, better go, be going, should be going, night night, nighty,
    good luck !, meet again, must be going, must be leaving, must leave, have to leave,
    heading out, head out, logging off, log off, peace out, be seeing you, till tomorrow,
    see you tomorrow, we'll meet, that's all for now, that is all for now, must away,
    be back later, bye, byebye, goodbye, good bye, farewell, cya, see ya, see you, so long,
    take care, safe travels, good night, goodnight, i must go, i have to go, i should go,
    gotta go, got to go, i need to go, gtg, g2g, i'm leaving, i am leaving, i'll be going,
    i'll go now, be on my way, i'm off, until next time, till next time, until we meet,
    till we meet, catch you later, later !, talk later, talk to you later, ttyl, brb,
    time to go, time for me to go, let's go home, leave you now, fare well, fare thee well,
    ciao, cheerio, adieu, sleep well, rest well, i'd better go, better be going, goodby, laters
farewell 0:
    see you doing, see you have, see you are, see you sell, see you as, never see you,
    kiss goodbye
thanks 3:
    thank god you, that helps, that helped, you're the best, you are the best,
    you're a lifesaver, lifesaver, most kind, how generous, very generous, so helpful,
    very helpful, that's helpful, much obliged, obliged, thanks, thankss, thank, thank you,
    thankyou, thx, thnx, thanx, tnx, ty, tysm, tyvm, cheers, much appreciated, appreciate,
    appreciate it, grateful, gratitude, bless you, you saved me, you saved my, i owe you,
    in your debt, very kind, so kind, too kind, how kind, ta !, kudos
greeting 2:
    evening, morning, afternoon, day to you, peace be, well hello, knock knock, anyone home,
    anybody home, anybody here, anyone here, remember me, hi, hello, hey, heya, hiya, helo,
    hullo, hail, greetings, greeting, howdy, yo, sup, welcome, ahoy, hallo, heyo, ello, 'ello,
    oi, salutations, wassup, whatsup, henlo
greeting 4:
    good morning, good day, gud day, good evening, good afternoon, gud morning, g'day,
    how are you, how are u, how r u, how are ya, how do you do, how's it going, hows it going,
    how is it going, how goes it, what's up, whats up, nice to meet you, pleased to meet you,
    pleasure to meet, well met, good to see you, nice to see you, glad to see you,
    happy to see you, great to see you, i'm back, i am back, have we met, good to meet you,
    how have you been, long time no see
question 2:
    ^ who, ^ who's, ^ whos, ^ what, ^ what's, ^ whats, ^ wat, ^ wut, ^ where, ^ where's,
    ^ wheres, ^ when, ^ why, ^ how, ^ how's, ^ which, ^ whose, ^ whom, ^ do you, ^ do u,
    ^ do they, ^ does, ^ did, ^ are you, ^ are u, ^ r u, ^ are there, ^ are they, ^ is there,
    ^ is it, ^ is he, ^ is she, ^ is this, ^ is that, ^ is the, ^ was it, ^ were you,
    ^ have you, ^ has, ^ can you, ^ can i, ^ can u, ^ could you, ^ would you, ^ will you,
    ^ should i, ^ may i ask, ^ any idea
question 3:
    looking for my, looking for the, have you seen, seen my, what happened, tell me, explain,
    do you know, you know about, you know where, i want to know, wanna know, i wonder,
    wondering, i have a question, a question, questions, heard of, any news, any rumors,
    any rumours, what about, how about, any idea, can i ask, may i ask, let me ask, describe
question 0:
    no comment, what a, what an, how dare you, how kind, how beautiful
silence 5:
    say nothing, says nothing, said nothing, stay silent, stays silent, remain silent,
    remains silent, keep silent, stare silently, stares silently, no answer ., silence .,
    just stares

# French
threat 6:
    te tuer, te tue, te tuerai, vous tuer, vous tuerai, vais te faire, tu vas mourir,
    vas mourir, vous allez mourir, va mourir, creve, ou la vie, tu vas payer, gare
insult 5:
    imbecile, connard, salaud, ta gueule, stupide, abruti, va te faire, ordure, minable,
    tais toi, lache !, moche, sale bete, vaurien, bouffon
quest 4:
    quete, quetes, travail, boulot, tache, recompense, besoin d'aide, prime
quest 5:
    puis je aider, puis je vous aider, je peux aider, je peux t'aider, du travail
trade 4:
    acheter, achete, vendre, vends, vendez, vend, prix, combien, marchandise, marchandises,
    boutique, commerce, echanger, coute, coutent, troc
farewell 4:
    au revoir, a bientot, a plus, bonne nuit, a la prochaine, bonne journee, je m'en vais,
    je dois partir, a demain
thanks 3:
    merci, reconnaissant, remercie
greeting 2:
    bonjour, bonsoir, coucou, salut, salutations, enchante
greeting 4:
    comment vas tu, comment allez vous, ca va
question 2:
    ^ qui, ^ quoi, ^ pourquoi, ^ comment, ^ ou est, ^ ou sont, ^ ou se, ^ ou puis, ^ quel,
    ^ quelle, ^ quand, est ce, qu'est, ^ que, connais tu, connaissez vous, sais tu, savez vous,
    parle moi, dis moi, dites moi, c'est quoi

# German
threat 6:
    tote dich, toete dich, dich toten, dich toeten, dich umbringen, bring dich um,
    bringe dich um, stirb, wirst sterben, du stirbst, mach dich kalt, mache dich fertig,
    geld oder leben, wirst du bereuen, schlag dich, letzte warnung, sonst knallt
insult 5:
    dumm, dummkopf, bloed, blod, blode, bloedmann, trottel, depp, feigling, schwein, arsch,
    arschloch, halt die klappe, halts maul, halt's maul, halt den mund, hasslich, haesslich,
    verpiss dich, abschaum, versager, hau ab, nichtsnutz, luegner, lugner
quest 4:
    auftrag, auftrage, auftraege, aufgabe, aufgaben, arbeit, belohnung, mission
quest 5:
    kann ich helfen, kann ich dir helfen, kann ich euch helfen, brauchst du hilfe,
    braucht ihr hilfe, fur mich zu tun, fuer mich zu tun, etwas zu tun
trade 4:
    kaufen, verkaufen, verkaufst, verkauft, kauf, kaufe, verkaufe, preis, preise, kostet,
    kosten, wieviel, wie viel, handeln, handel, ware, waren kaufen, laden, tauschen, teuer
farewell 4:
    tschuss, tschuess, tschau, auf wiedersehen, wiedersehen, lebewohl, leb wohl, bis bald,
    bis spater, bis spaeter, gute nacht, mach's gut, machs gut, ich muss gehen, ich muss los,
    bis morgen, gehab
thanks 3:
    danke, dankeschon, dankeschoen, vielen dank, dank, dankbar
greeting 2:
    guten tag, guten morgen, guten abend, servus, moin, gruss, gruss dich, gruezi, gruss gott,
    seid gegrusst, sei gegrusst, gegrusst, gegruesst, na du
greeting 4:
    wie geht's, wie gehts, wie geht es
question 2:
    ^ wer, ^ wo, ^ wie, ^ warum, ^ wieso, ^ wann, ^ woher, ^ wohin, ^ was ist, ^ was sind,
    ^ was willst, ^ was machst, ^ was weisst, ^ was hast, ^ was war, ^ was tust, ^ welche,
    ^ bist du, ^ hast du, ^ kennst du, ^ weisst du, ^ gibt es, ^ kannst du, erzahl, erzahle,
    erzaehl, sag mir

# Spanish
threat 6:
    te matare, te mato, te voy a matar, voy a matarte, matarte, muere, vas a morir, moriras,
    lo pagaras, o la vida, te arrepentiras, te arrancare, ultima advertencia
insult 5:
    idiota, estupido, estupida, tonto, tonta, imbecil, cobarde, mierda, callate, feo, fea,
    inutil, cabron, basura, gilipollas, vete al infierno, asqueroso, payaso
quest 4:
    mision, misiones, trabajo, tarea, tareas, encargo, recompensa, aventura
quest 5:
    puedo ayudar, puedo ayudarte, necesitas ayuda, en que puedo
trade 4:
    comprar, compro, vender, vendes, vendo, vende, precio, precios, cuanto, cuesta, cuestan,
    tienda, mercancia, comerciar, intercambiar, cuanto cuesta, caro, oro por
farewell 4:
    adios, hasta luego, hasta la vista, hasta manana, hasta pronto, hasta la proxima, nos vemos,
    me voy, buenas noches, chao, tengo que irme
thanks 3:
    gracias, agradecido, agradezco, muy amable
greeting 2:
    hola, buenas, buenos dias, buenas tardes, saludos, que tal
greeting 4:
    como estas, como esta usted
question 2:
    ^ quien, ^ quienes, ^ que, ^ donde, ^ por que, ^ como, ^ cuando, ^ cual, ^ sabes, ^ conoces,
    ^ eres, ^ hay, dime, cuentame, hablame
"""

NEGATIONS: dict[str, int] = {
    **dict.fromkeys(
        "not never don't dont won't wont wouldn't can't cant cannot couldn't didn't didnt isn't"
        " aren't ain't without pas nicht kein keine nie nunca jamais".split(),
        3,
    ),
    **dict.fromkeys("no ne".split(), 2),
}
"""After one of these, so many words of the same clause are no threat and no insult."""

NO_TYPOS = frozenset(
    """
    abut achte alden alter alters arch barer beak bess binge bled bode bone bracht brauch brig
    brine canto carbon cesta chap cheer cold combine compo cone cons contact contrat cote cots
    cree crepe cute dane dies diets done down dune enchant etwa fina garage gods gong goody
    greta grus hall halo hals hande handen handle hard hats haut head hear hell herd hull kaue
    kauen kennt lace lach lade late latter lave letzt looser lose lowe lower luger mace many
    mere monster moon mooney moons morn morns muer nigh oblige offre option options pace pale
    pare pick please precis preciso pries prim prise quad quell ques question quine read robber
    robbers sake salad salt salud saludo salutation sash saut save schein second seep shoo shot
    sine sinking sinks sliver slut smell sock sons sont soot sore star stars stink stir strange
    tank tanks tara tarde tare tares taschen tass tauchen teer tete than tied tired tona tono
    toto traer tras treas tuer tying util vener venez viele waning waring warm warn warren wars
    weist welch wies wing wisst wist wohn woks wren wrist
    """.split()
)
"""Words of their own, which are not to be taken for a slip of one in the table."""
