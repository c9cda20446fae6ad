"""The chat page: one HTML file, assembled from modules, with a server or a model behind it.

Files:
    assembly.py  from the sources to one page, and the policy under which it runs

Sources of the page:
    page.html            its elements
    page.css             its looks
    main.js              puts the modules together
    dom.js               elements, icons, buttons, focus
    storage.js           what the browser keeps
    state.js             what is shown and done at present, and the settings
    conversations.js     conversations, and what of them is sent
    speech.js            what a screen reader is told
    notices.js           notices and the state line
    scrolling.js         the end stays in view
    messages.js          shows the conversation
    conversation_list.js shows the list of conversations
    drawer.js            the list on narrow screens
    copying.js           to the clipboard
    transfer.js          export and import
    connection.js        which model answers, and whether it can be reached
    key_dialog.js        asks for the API key
    reply.js             asks for a reply and shows it as it comes
    composer.js          the message field
    settings_dialog.js   settings
    backend_error.js     why there is no reply
    backend_server.js    replies from `tinylm serve`
    backend_local.js     replies from a model in the page: `tinylm export --web`
"""
